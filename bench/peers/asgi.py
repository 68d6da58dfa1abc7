"""What edges behind servers of ASGI have in common."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import uvicorn


async def read_body(receive: Any) -> bytes:
    """Read a request's body to its end."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


async def reply(send: Any, status: int, content: bytes) -> None:
    """Answer a request with JSON."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def by_uvicorn(application: Any, port: int) -> Awaitable[None]:
    """Serve by uvicorn, with httptools."""
    config = uvicorn.Config(
        application,
        port=port,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        backlog=4096,
    )
    return uvicorn.Server(config).serve()


async def serve(serving: Awaitable[None], port: int) -> None:
    """Serve until killed, and say `ready` when connections are accepted."""
    server = asyncio.ensure_future(serving)
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            break
    print("ready", flush=True)
    await server
