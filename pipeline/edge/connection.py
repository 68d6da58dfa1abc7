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
from pipeline.edge.heads import (
    HEADER_COST,
    MAX_HEAD,
    WANTED,
    check_head,
    is_for_a_socket,
    too_large_head,
    without_upgrade,
)
from pipeline.edge.messages import Reply, Request, unanswered
from pipeline.web.problems import ProblemError, again_later

if TYPE_CHECKING:
    from pipeline.edge.site import Site

MOST_QUEUED = 64  # requests of a client that does not wait for answers

IDLE_S = 75.0  # between two requests
LINGER_S = 2.0  # for the reader of a last answer, before the connection is closed
WRITE_BUFFER = 64 << 10  # of answers that are not taken: then no more requests are read

log = structlog.get_logger(__name__)

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HttpConnection(asyncio.Protocol):
    """Reads requests and answers them in their order, one at a time.

    Nothing is read while requests wait to be served, or answers to be taken. A request with a problem waits like any other;
    behind one that cannot be read to its end, nothing is read any more.
    """

    def __init__(self, site: "Site") -> None:
        self._site = site
        self._door = site.door
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._address = ""
        self._request = Request("")  # that is read
        self._is_receiving = False  # it has begun, and not ended
        self._in_head = False
        self._received = self._header_bytes = self._body_bytes = self._most_body = 0
        self._body: list[bytes] = []
        self._queue: deque[Request] = deque()  # that are to be served
        self._serving: Request | None = None
        self._is_read = False  # to the last request that there will be
        self.has_hung_up = False  # the client sends no more
        self._is_broken_off = False  # before the client's end: it may be sending still
        self._is_slow = False  # the client does not take its answers
        self._is_ending = False  # it has its last answer
        self._is_held = False  # it has its answer, and others come before its next request
        self._is_paused = False
        self.deadline = 0.0  # s, monotonic

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport  # type: ignore[assignment]
        self._transport.set_write_buffer_limits(WRITE_BUFFER)
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if peer else ""
        self._site.opened(self)
        self._rest(self._site.request_s)

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget it; votes that it brought go on."""
        self._site.closed(self)
        self._site.line.leave(self)
        self._is_read = self._is_ending = True
        self._queue.clear()
        self._forget_parser()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._is_read:
            return  # what comes is read only so that the client can take its last answer
        self._received += len(data)
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
            self._refuse_rest(
                ProblemError(HTTPStatus.BAD_REQUEST, f"not HTTP/1.1: {str(error)[:200]}", kind="not-http")
            )
        if self._is_receiving and self._received > MAX_HEAD + 2 * self._most_body:
            self._refuse_rest(too_large_head() if self._in_head else _too_large_body(self._most_body))
        if self._queue:
            self._go_on()

    def eof_received(self) -> bool:
        """Serve what has come whole; the client sends no more, but may wait for answers."""
        self._is_read = self.has_hung_up = True
        return self._serving is not None or bool(self._queue)

    def pause_writing(self) -> None:
        """Do not serve more than the client takes, nor wait for it for long."""
        self._is_slow = True
        self._expire_in(self._site.request_s)
        self._read_or_not()

    def resume_writing(self) -> None:
        """Go on."""
        self._is_slow = False
        if self._serving is None and not (self._queue or self._is_receiving or self._is_ending):
            self._rest(IDLE_S)
        self._go_on()

    # What httptools calls while it reads.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._request = Request(self._address)
        if self._is_read:
            return
        is_read_again, self._is_receiving, self._in_head = self._is_receiving, True, True
        self._body = []
        self._header_bytes = self._body_bytes = self._most_body = 0
        if self._serving is None and not (self._queue or is_read_again):
            self._site.busy(self)
            self._expire_in(self._site.request_s)

    def on_url(self, url: bytes) -> None:
        """Take the target, or a part of it."""
        self._request.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. One that comes again is a list (RFC 9110, 5.3)."""
        self._header_bytes += len(name) + len(value) + HEADER_COST
        name = name.lower()
        # Beyond MAX_HEAD it is refused, and to take all of them would be much work.
        if name in WANTED and self._header_bytes <= MAX_HEAD:
            headers, value = self._request.headers, value.strip(b" \t")
            headers[name] = value if name not in headers else headers[name] + b", " + value

    def on_headers_complete(self) -> None:
        """Decide whether the request is admitted, before its body comes."""
        if self._is_read:
            return
        request = self._request
        self._in_head = False
        request.method = self._parser.get_method().decode("latin-1")
        version = self._parser.get_http_version()
        # Of HTTP/1.0 a connection would go on only if the answer said so: it ends.
        request.keep_alive = self._parser.should_keep_alive() and version != "1.0"
        try:
            check_head(request, self._header_bytes, version)
        except ProblemError as problem:
            self._refuse_rest(problem)
            return
        if self._parser.should_upgrade():
            return
        try:
            self._most_body = self._door.admit(request)
        except ProblemError as problem:
            request.problem, self._most_body = problem, MAX_HEAD  # a small body is read over: the connection goes on
        if int(request.headers.get(b"content-length", b"0")) > self._most_body:
            self._refuse_rest(request.problem or _too_large_body(self._most_body))
        elif b"expect" in request.headers and self._is_waiting(request):
            if request.problem is not None:
                self._refuse_rest(request.problem)  # its body may never come
            elif self._serving is None and not self._queue:  # else it would stand before the answers to others
                self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._is_read:
            return
        self._body_bytes += len(body)
        self._body.append(body)
        if self._body_bytes > self._most_body:
            self._refuse_rest(self._request.problem or _too_large_body(self._most_body))

    def on_message_complete(self) -> None:
        """Let the request wait for its turn."""
        if self._is_read or self._parser.should_upgrade():
            return
        if len(self._queue) == MOST_QUEUED:
            self._refuse_rest(_impatient())
            return
        self._is_receiving = False
        self._received = 0  # what came with its end, of the next one, is not counted
        self._request.body = b"".join(self._body)
        self._queue.append(self._request)

    # Serving.

    def _go_on(self) -> None:
        """Serve the next request, if there is one and the client takes answers; read on, or not."""
        if self._queue and self._serving is None and not self._is_slow and not self._transport.is_closing():
            self._enter(self._queue.popleft())
        self._read_or_not()

    def _enter(self, request: Request) -> None:
        """Let a request have its turn, when it comes."""
        self._serving = request
        self._expire_in(self._site.answer_s)
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
        is_last = not request.keep_alive or self._site.is_draining or (self._is_read and not self._queue)
        more = self._door.cors(request) if b"origin" in request.headers else b""
        if is_last:
            more += b"Connection: close\r\n"
        self._transport.write(reply.written(more, with_body=request.method != "HEAD"))
        if is_last:
            self._finish()
        elif self._queue:
            asyncio.get_running_loop().call_soon(self._go_on)  # not at once: others have their turns between
        elif self._is_receiving:
            self._expire_in(self._site.request_s)
        elif not self._is_slow:
            self._is_held = self._site.line.hold(self)
            if self._is_held:
                self._expire_in(IDLE_S)
                self._read_or_not()
            else:
                self._rest(IDLE_S)

    def read_on(self) -> None:
        """Read the next request: it is this connection's turn."""
        self._is_held = False
        if not self._transport.is_closing():
            self._rest(IDLE_S)
            self._read_or_not()

    def _finish(self) -> None:
        """Close, with the last answer written. To do so in the midst of a request could take the answer from its reader."""
        self._is_ending = True
        self._queue.clear()
        if self._is_receiving or self._is_broken_off:
            self._is_read = True
            self._transport.write_eof()
            self._read_or_not()
            self._expire_in(LINGER_S)
        else:
            self._transport.close()

    def _refuse_rest(self, problem: ProblemError) -> None:
        """Tell a problem, when all before it is answered, and read nothing any more."""
        if not self._is_read:
            request = self._request if self._is_receiving else Request(self._address)
            self._is_read = self._is_broken_off = True
            request.problem, request.keep_alive = problem, False
            self._queue.append(request)
            self._go_on()

    def _upgrade(self, rest: bytes) -> None:
        """Hand the connection over to a WebSocket, with what was read after the request.

        An upgrade to anything else is ignored, as a server may do (RFC 9110, 7.8): Java's client asks for HTTP/2 that way.
        """
        request = self._request
        if self._is_read:
            return
        version = self._parser.get_http_version()
        is_ours = version != "1.0" and is_for_a_socket(request)
        if not is_ours:  # httptools has not read its body: it does, without the upgrade
            self._parser, self._received = httptools.HttpRequestParser(self), 0
            self.data_received(without_upgrade(request, version) + rest)
            return
        if self._serving is not None or self._queue:
            self._refuse_rest(_too_early())
            return
        try:
            poll_id = self._door.poll_of_socket(request)
        except ProblemError as problem:
            self._refuse_rest(problem)
            return
        self._site.closed(self)
        self._site.open_socket(self._transport, poll_id, request, rest)
        self._forget_parser()

    def _is_waiting(self, request: Request) -> bool:
        """Tell whether the client waits to be asked for the body (RFC 9110, 10.1.1)."""
        return request.header(b"expect").lower() == "100-continue" and self._parser.get_http_version() == "1.1"

    def _forget_parser(self) -> None:
        """Break the cycle: a crowd's connections would wait for the garbage collector."""
        del self._parser

    # What the site calls.

    def expire(self) -> None:
        """End what takes too long."""
        if self._is_ending or self._is_slow or self._transport.is_closing():
            self._transport.abort()
        elif self._serving is not None:
            request = self._serving
            self._respond(request, self._door.refusal(unanswered(), request))
        elif self._is_receiving:
            self._refuse_rest(
                ProblemError(
                    HTTPStatus.REQUEST_TIMEOUT, f"the request did not arrive within {self._site.request_s:g} s"
                )
            )
        else:
            self._transport.close()

    def cut(self) -> None:
        """End, with what is in flight."""
        self.expire()

    def drain(self) -> None:
        """End, after the requests that have begun."""
        if self._serving is None and not (self._queue or self._is_receiving or self._is_broken_off):
            self._transport.close()

    def _read_or_not(self) -> None:
        """Read while nobody waits: else a client's requests, or its answers, would be held without end."""
        pausing = bool(self._queue) or self._is_slow or self._is_held
        if pausing != self._is_paused and not self._transport.is_closing():
            self._is_paused = pausing
            if pausing:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _expire_in(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds

    def _rest(self, seconds: float) -> None:
        """Wait for a request; so long as none comes, this connection may have to make room."""
        now = time.monotonic()
        self.deadline = now + seconds
        self._site.idle(self, now)


def _too_large_body(most: int) -> ProblemError:
    return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {most} bytes here")


def _impatient() -> ProblemError:
    return again_later(
        HTTPStatus.TOO_MANY_REQUESTS, f"wait for answers before more than {MOST_QUEUED} requests", "too-many-requests"
    )


def _too_early() -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, "a WebSocket begins when all else on its connection is answered")
