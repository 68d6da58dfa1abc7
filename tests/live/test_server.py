"""Clients of the display that send nothing, or never a whole request."""

import asyncio
import contextlib

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from pipeline.live import server
from pipeline.live.hub import Hub
from pipeline.web.listening import listen

GET = b"GET / HTTP/1.1\r\nHost: live\r\n\r\n"


async def test_a_client_that_sends_no_request_is_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_S", 0.3)
    listening = listen("127.0.0.1", 0, "a port")
    port = listening.getsockname()[1]

    async def slow(_request: object) -> Response:
        await asyncio.sleep(1)  # an answer may take longer than a request
        return Response("here")

    running = server.Server(Starlette(routes=[Route("/", slow)]), Hub())
    serving = asyncio.create_task(running.serve(sockets=[listening]))

    async def answered(sent: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(sent)
            with contextlib.suppress(ConnectionError):
                return await asyncio.wait_for(reader.read(), 20)
            return b""
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    silent, half, whole, more = await asyncio.gather(
        answered(b""), answered(GET[:20]), answered(GET), answered(GET + GET[:20])
    )
    assert (silent, half) == (b"", b"")
    assert whole.endswith(b"here")
    assert more.count(b"here") <= 1  # its second request never came
    running.should_exit = True
    await asyncio.wait_for(serving, 10)
