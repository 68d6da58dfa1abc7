"""An HTTP/1.1 connection: parsed by httptools (Node's parser), served without a task, bounded in every direction.

A request costs one pass over its bytes and a callback when Kafka has the vote. An ASGI server spends a scope, a task and some
awaits besides, which is as much again (``bench/edge.py`` compares them), and the reason for having this.
"""

import asyncio
import time
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING

import httptools
import structlog

from pipeline.edge.ballots import MAX_BALLOTS
from pipeline.edge.door import network_of
from pipeline.edge.messages import Reply, Request, unanswered
from pipeline.web.problems import ProblemError

if TYPE_CHECKING:
    from pipeline.edge.site import Site

MAX_HEAD = 16 << 10  # bytes of a request's line and headers
HEADER_COST = 32  # bytes that a header costs besides its own (RFC 9113, 6.5.2, counts so)

IDLE_S = 75.0  # between two requests
LINGER_S = 2.0  # for the reader of a last answer, before the connection is closed
WRITE_BUFFER = 64 << 10  # of answers that are not taken: then no more requests are read

_WANTED = frozenset(
    (
        *(b"authorization", b"content-length", b"content-type", b"expect", b"host", b"origin", b"x-forwarded-for"),
        *(b"connection", b"upgrade", b"sec-websocket-key", b"sec-websocket-version"),
    )
)
log = structlog.get_logger(__name__)

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HttpConnection(asyncio.Protocol):
    """Reads requests and answers them in their order, one at a time."""

    def __init__(self, site: "Site") -> None:
        self._site = site
        self._door = site.door
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._address = ""
        self._request = Request("")
        self._head_bytes = self._header_bytes = 0
        self._in_head = True
        self._most_body = 0
        self._serving: Request | None = None
        self._queue: deque[Request] = deque()  # of a client that does not wait for answers
        self._ending = self._is_paused = False
        self.deadline = 0.0  # s, monotonic

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport  # type: ignore[assignment]
        self._transport.set_write_buffer_limits(WRITE_BUFFER)
        peer = transport.get_extra_info("peername")
        self._address = network_of(peer[0]) if peer else ""
        self._site.opened(self)
        self._rest(self._site.request_s)

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget it; votes that it brought go on."""
        self._site.closed(self)
        self._ending = True
        self._queue.clear()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._ending:
            return  # it has its last answer, and is read only so that it can take that
        if self._serving is None and not self._head_bytes:
            self._site.busy(self)
            self.deadline = time.monotonic() + self._site.request_s
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserCallbackError:
            log.exception("a bug ended a connection")
            self.abort()
            return
        except httptools.HttpParserError as error:
            if not self._ending:
                self._end(ProblemError(HTTPStatus.BAD_REQUEST, f"not HTTP/1.1: {str(error)[:200]}", kind="not-http"))
            return
        if self._in_head and self._head_bytes > MAX_HEAD:
            self._end(_too_large_head())

    def pause_writing(self) -> None:
        """Do not serve more than the client takes."""
        self._wait(self._site.request_s)
        self._pause()

    def resume_writing(self) -> None:
        """Go on."""
        self._resume()

    # What httptools calls while it reads.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._request = Request(self._address)
        self._most_body = self._header_bytes = 0
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        """Take the target, or a part of it."""
        self._request.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._header_bytes += len(name) + len(value) + HEADER_COST
        name = name.lower()
        if name in _WANTED:
            self._request.headers[name] = value

    def on_headers_complete(self) -> None:
        """Decide whether the request is admitted, before its body comes."""
        request = self._request
        self._in_head = False
        request.method = self._parser.get_method().decode("latin-1")
        request.keep_alive = self._parser.should_keep_alive()
        if "?" in request.path:
            request.path, _, request.query = request.path.partition("?")
        if self._header_bytes + len(request.path) > MAX_HEAD:
            self._end(_too_large_head())
            return
        if self._parser.should_upgrade():
            return
        try:
            self._most_body = self._door.admit(request)
        except ProblemError as problem:
            request.problem, self._most_body = problem, MAX_HEAD  # a small body is read over: the connection goes on
        if int(request.headers.get(b"content-length", b"0")) > self._most_body:
            self._end(request.problem or _too_large_body(self._most_body))
        elif self._serving is None and request.headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        request = self._request
        request.body += body
        if len(request.body) > self._most_body and not self._ending:
            self._end(request.problem or _too_large_body(self._most_body))

    def on_message_complete(self) -> None:
        """Serve the request, when those before it are served."""
        self._head_bytes, self._in_head = 0, True
        if self._ending or self._parser.should_upgrade():
            return
        if self._serving is None and not self._queue:
            self._enter(self._request)
        else:
            self._queue.append(self._request)
            self._pause()

    # Serving.

    def _enter(self, request: Request) -> None:
        """Let a request have its turn, when it comes."""
        self._serving = request
        self.deadline = time.monotonic() + self._site.answer_s
        if request.problem is not None:
            self.refuse(request, request.problem)
        else:
            votes = 1 if request.grant is None else MAX_BALLOTS  # it is not known before they are read
            self._site.line.join(self, request, votes=votes, size=len(request.body))

    def serve(self, request: Request) -> None:
        """Take a request when it is its turn."""
        if self._serving is request and not self._transport.is_closing():  # else nobody waits for it any more
            self._door.take(request, lambda reply: self._respond(request, reply))

    def refuse(self, request: Request, problem: ProblemError) -> None:
        """Tell that a request is not taken."""
        self._respond(request, self._door.refusal(problem, request))

    def abort(self) -> None:
        """End at once."""
        self._transport.abort()

    def _respond(self, request: Request, reply: Reply) -> None:
        """Answer the request that is being served; for any other it is too late."""
        if self._serving is not request or self._transport.is_closing():
            return
        self._serving = None
        is_last = self._ending or self._site.is_draining or not request.keep_alive
        self._write(request, reply, is_last=is_last)
        if is_last:
            self._ending = True
            self._transport.close()
        elif self._queue:
            asyncio.get_running_loop().call_soon(self._serve_queued)
        else:
            self._rest(IDLE_S)

    def _serve_queued(self) -> None:
        if self._serving is None and self._queue and not self._transport.is_closing():
            self._enter(self._queue.popleft())
            if not self._queue:
                self._resume()

    def _write(self, request: Request, reply: Reply, *, is_last: bool) -> None:
        more = self._door.cors(request) if b"origin" in request.headers else b""
        if is_last:
            more += b"Connection: close\r\n"
        self._transport.write(reply.written(more, with_body=request.method != "HEAD"))

    def _end(self, problem: ProblemError) -> None:
        """Tell a last problem, and read nothing any more. Closing at once could take the answer from its reader."""
        request, self._ending = self._request, True
        if self._serving is None and not self._transport.is_closing():
            self._write(request, self._door.refusal(problem, request), is_last=True)
            self._transport.write_eof()
        self._wait(LINGER_S)

    def _upgrade(self, rest: bytes) -> None:
        """Hand the connection over to a WebSocket, with what was read after the request."""
        request = self._request
        if request.method != "GET" or self._serving is not None:
            self._end(ProblemError(HTTPStatus.BAD_REQUEST, "open a WebSocket by GET, when all else is answered"))
            return
        try:
            poll_id = self._door.poll_of_socket(request)
        except ProblemError as problem:
            self._end(problem)
            return
        self._site.closed(self)
        self._site.open_socket(self._transport, poll_id, request, rest)

    # What the site calls.

    def expire(self) -> None:
        """End what takes too long."""
        if self._ending or self._transport.is_closing():
            self._transport.abort()
        elif self._serving is not None:
            request = self._serving
            self._respond(request, self._door.refusal(unanswered(), request))
        elif self._head_bytes:
            self._end(
                ProblemError(
                    HTTPStatus.REQUEST_TIMEOUT, f"the request did not arrive within {self._site.request_s:g} s"
                )
            )
        else:
            self._transport.close()

    def drain(self) -> None:
        """End, after the request that is being served."""
        if self._serving is None and not self._head_bytes and not self._ending:
            self._transport.close()

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    def _wait(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds

    def _rest(self, seconds: float) -> None:
        """Wait for a request; so long as none comes, this connection may have to make room."""
        now = time.monotonic()
        self.deadline = now + seconds
        self._site.idle(self, now)


def _too_large_head() -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"address and headers may have {MAX_HEAD} bytes, and each header counts for {HEADER_COST} more",
    )


def _too_large_body(most: int) -> ProblemError:
    return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {most} bytes here")
