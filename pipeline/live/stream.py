"""`GET .../events`: Server-Sent Events of one poll (WHATWG HTML, "Server-sent events"), as an ASGI application.

An event's id is the version, its data the snapshot. A reader that connects again with `Last-Event-ID` gets nothing that it
has already. There is no list of what it missed: the newest version says all that the older ones said.
"""

import asyncio

from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from pipeline.live.hub import Hub, Reader
from pipeline.live.view import View
from pipeline.web.problems import away

RECONNECT_MS = 1_000

_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
)
_END: Message = {"type": "http.response.body", "body": b"", "more_body": False}


class EventStream:
    """Serves readers until they go, or the service ends."""

    def __init__(self, view: View, hub: Hub, most_readers: int) -> None:
        self._view, self._hub, self._most = view, hub, most_readers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one reader."""
        request = Request(scope)
        poll_id = self._view.poll_id(request)
        self._view.shown(poll_id)
        if len(self._hub) >= self._most or self._hub.closed:
            raise away(f"{self._most} streams are open, which is all that this service serves: try another, or again")

        async def send_chunk(content: bytes) -> None:
            await send({"type": "http.response.body", "body": content, "more_body": True})

        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})  # others add theirs
        if scope["method"] == "HEAD":
            await send(_END)
            return
        await send_chunk(b"retry: %d\n\n" % RECONNECT_MS)
        reader = Reader(poll_id, _last_event_id(request))
        watching = asyncio.create_task(_close_when_gone(reader, receive))
        try:
            await self._hub.serve(reader, send_chunk)
            await send(_END)
        finally:
            watching.cancel()


async def _close_when_gone(reader: Reader, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    reader.close()


def _last_event_id(request: Request) -> int | None:
    """Read the version that the reader has; None: it says none, or nothing that we have said."""
    text = request.headers.get("last-event-id", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 16 else None
