"""An HTTP answer, written by a worker thread through the event loop."""

import asyncio
import json
import secrets
import string
from collections.abc import Coroutine
from typing import Any

from aiohttp import web

from pipeline.local.gateway.refusal import RefusalError

_TAG_LETTERS = string.ascii_lowercase
_TAG_LENGTH = 16


class Reply:
    """First ``start``, then ``write`` any number of times; or ``refuse`` at any time."""

    def __init__(self, request: web.Request, headers: dict[str, str]) -> None:
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._tag = "".join(secrets.choice(_TAG_LETTERS) for _ in range(_TAG_LENGTH))
        self._headers = {**headers, "X-ClickHouse-Exception-Tag": self._tag}
        self.response: web.StreamResponse | None = None

    def start(self, *, output: str | None, summary: dict[str, str] | None, length: int | None) -> None:
        """Send status 200. ``length`` None: it is not known yet, the body is sent in chunks."""
        headers = dict(self._headers)
        if output is not None:
            headers["X-ClickHouse-Format"] = output
            headers["Content-Type"] = "application/octet-stream" if output == "Native" else "text/plain; charset=UTF-8"
        if summary is not None:
            headers["X-ClickHouse-Summary"] = json.dumps(summary)
        self.response = web.StreamResponse(status=200, headers=headers)
        self.response.content_length = length
        self._await(self.response.prepare(self._request))

    def write(self, data: bytes) -> None:
        """Send a piece of the body; waits while the client does not read."""
        if self.response is not None and data:
            self._await(self.response.write(data))

    def refuse(self, refusal: RefusalError) -> None:
        """End with an exception, also in the middle of a result."""
        if self.response is not None:
            self.write(self._in_the_middle(refusal))
            self._loop.call_soon_threadsafe(self._cut)  # a client that knows no tags sees an incomplete body
            return
        headers = {**self._headers, "X-ClickHouse-Exception-Code": str(refusal.code)}
        body = refusal.body
        self.response = web.StreamResponse(status=refusal.status, headers=headers)
        self.response.content_type, self.response.charset = "text/plain", "UTF-8"
        self.response.content_length = len(body)
        self._await(self.response.prepare(self._request))
        self.write(body)

    def _in_the_middle(self, refusal: RefusalError) -> bytes:
        """src/IO/WriteBufferFromHTTPServerResponse.cpp: marker, tag, text, length and tag, marker."""
        body = refusal.body
        tag = self._tag.encode()
        return b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (tag, body, len(body), tag)

    def _cut(self) -> None:
        if self._request.transport is not None:
            self._request.transport.close()

    def _await(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
