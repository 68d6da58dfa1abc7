"""The crowd, against servers that misbehave. With a real edge it plays in tests/edge."""

import asyncio
import contextlib

from pipeline.domain.poll import PollId
from pipeline.load.crowd import Crowd
from pipeline.load.plan import Plan


async def test_no_connection_is_left_open_whose_handshake_took_too_long() -> None:
    ended: asyncio.Queue[bytes] = asyncio.Queue()

    async def never_upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            await reader.read()  # until the client hangs up
        ended.put_nowait(request)
        writer.close()

    server = await asyncio.start_server(never_upgrade, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    plan = Plan(f"http://127.0.0.1:{port}", PollId("gala", "best"), ("ada",), 10, 1, 3, timeout_s=0.2, is_socket=True)
    crowd = Crowd(plan)
    async with asyncio.timeout(10):
        assert await crowd.connect() == 0
        requests = [await ended.get() for _ in range(3)]
    assert crowd.oracle.answers == {"no connection": 3}
    assert all(request.startswith(b"GET /v1/shows/gala/polls/best/socket") for request in requests)
    await crowd.close()
    server.close()
