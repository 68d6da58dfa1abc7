"""A viewer who stays connected: votes up, an answer down for each, and the running result, if asked for (RFC 6455).

Up: the same object as in a POST. Down: `{"vote_id": ..., "status": 202}` when Kafka has the vote, the problem with its
`vote_id` when not, and `{"result": ...}`, the snapshot that the display has (``schemas/live.md``).

The protocol is that of `websockets`, without its tasks and queues: they would be most of what a connection costs.
"""

import asyncio
import math
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.http11 import Response
from websockets.server import ServerProtocol

from pipeline.domain.poll import PollId
from pipeline.edge.door import MAX_POSTED
from pipeline.edge.messages import Request, text_frame, unanswered
from pipeline.web.problems import MEDIA_TYPE, ProblemError, again_later

if TYPE_CHECKING:
    from pipeline.edge.site import Site

PING_AFTER_S = 45.0  # of silence
PONG_S = 20.0
CLOSE_S = 3.0
WRITE_BUFFER = 32 << 10
GOING_AWAY, UNSUPPORTED, NOT_UTF_8, POLICY = 1001, 1003, 1007, 1008
MOST_IN_FLIGHT = 16  # votes of one viewer
READ_BYTES = 1024  # at a time: a frame may have six bytes only
MOST_FRAMES = 64  # of what has come at once

UUID_CHARACTERS = 36

_PING = b"\x89\x00"


class _Identified(msgspec.Struct):
    vote_id: Any = None


_decode_id = msgspec.json.Decoder(_Identified).decode


class _Sent:
    """A vote as it came; called with what became of it. A closure that knows itself would be a cycle that nobody frees."""

    __slots__ = ("_socket", "text", "until", "vote_id")

    def __init__(self, socket: "VoterSocket", text: bytes, until: float) -> None:
        self._socket, self.text, self.until = socket, text, until
        self.vote_id = _id_in(text)

    def __call__(self, problem: ProblemError | None) -> None:
        self._socket.answer(self, problem)


class VoterSocket(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_address", "_closing", "_is_pinged", "_is_slow", "_poll_id", "_protocol", "_quiet_until", "_sent", "_site",
        "_text", "_transport", "_unanswered", "_wants_result", "deadline",
    )  # fmt: skip
    has_hung_up = False  # what was not answered before is not taken

    def __init__(self, site: "Site", transport: asyncio.Transport, poll_id: PollId, request: Request) -> None:
        self._site, self._transport, self._poll_id = site, transport, poll_id
        self._address = request.address
        self._wants_result = "result=1" in request.query.split("&")
        self._protocol = ServerProtocol(max_size=MAX_POSTED)
        self._unanswered: dict[_Sent, None] = {}  # the oldest come first
        self._is_slow = self._is_pinged = self._closing = False
        self._text = b""  # of a message that has not come whole
        self._sent = b""  # the newest result that it has
        self.deadline = self._quiet_until = time.monotonic() + PING_AFTER_S
        transport.set_write_buffer_limits(WRITE_BUFFER)
        site.sockets += 1

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._quiet_until, self._is_pinged = time.monotonic() + PING_AFTER_S, False
        events = 0
        for start in range(0, len(data), READ_BYTES):
            self._protocol.receive_data(data[start : start + READ_BYTES])
            for event in self._protocol.events_received():
                events += 1
                self._take_event(event)
            if events > MOST_FRAMES:
                self._protocol.fail(POLICY, "too much at once")
                break
        self._flush()
        self._wait()

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget it; votes that it brought go on."""
        self._site.sockets -= 1
        self._site.closed(self)
        self._site.results.leave(self._poll_id, self)
        # Cycles: a crowd's connections would wait for the garbage collector.
        self._protocol.parser.close()
        self._unanswered.clear()

    def pause_writing(self) -> None:
        """Let it take what it has before there is more."""
        self._is_slow = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on, with the newest result."""
        self._is_slow = False
        self._transport.resume_reading()
        self._site.results.catch_up(self._poll_id, self)

    def show(self, result: bytes) -> None:
        """Send a result, a whole frame that is the same for everybody; one that is too slow gets a newer one later."""
        if not (self._is_slow or self._closing or self._transport.is_closing() or result is self._sent):
            self._sent = result
            self._transport.write(result)

    def expire(self) -> None:
        """Answer what has waited too long; ask whether somebody is there, or end."""
        now = time.monotonic()
        if self._closing or (self._is_pinged and now > self._quiet_until):
            self._transport.abort()
            return
        self._answer_overdue(now)
        if now > self._quiet_until:
            self._is_pinged, self._quiet_until = True, now + PONG_S
            self._transport.write(_PING)
        self._wait()

    def cut(self) -> None:
        """End, with the votes that are in flight."""
        self._answer_overdue(math.inf)
        self.drain()

    def drain(self) -> None:
        """End, after the votes that are in flight."""
        if not (self._unanswered or self._closing):
            self._close(GOING_AWAY, "connect again, to another edge")

    def _take_event(self, event: object) -> None:
        if isinstance(event, Handshake):
            response = self._protocol.accept(event)
            if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
                _make_problem(response, event.path)
            self._protocol.send_response(response)
            self._flush()
            if self._wants_result and not self._closing:
                self._site.results.join(self._poll_id, self)
        elif not isinstance(event, Frame):  # a client has no responses to give
            self._protocol.fail(POLICY)
        elif event.opcode is Opcode.BINARY:
            self._protocol.fail(UNSUPPORTED, "a vote is text")
        elif event.opcode in {Opcode.TEXT, Opcode.CONT}:
            self._text += event.data  # of all frames of a message, no longer than MAX_POSTED together
            if event.fin:
                text, self._text = self._text, b""
                if not _is_utf_8(text):
                    self._protocol.fail(NOT_UTF_8, "a vote is UTF-8")
                elif not self._closing:  # there would be no answer: what is not answered is not taken
                    self._take(text)

    def _take(self, text: bytes) -> None:
        sent = _Sent(self, text, time.monotonic() + self._site.answer_s)
        self._unanswered[sent] = None
        if self._site.is_draining:
            self.refuse(sent, _leaving())
        elif len(self._unanswered) > MOST_IN_FLIGHT:
            self.refuse(sent, _impatient())
        else:
            self._site.line.join(self, sent, votes=1, size=len(text))

    def serve(self, request: _Sent) -> None:
        """Take a vote when it is its turn."""
        if self._closing or self._transport.is_closing() or request not in self._unanswered:
            return  # what is not answered is not taken
        try:
            self._site.door.ingest.take_one(self._poll_id, request.text, self._address, request)
        except ProblemError as problem:
            self.refuse(request, problem)

    def refuse(self, request: _Sent, problem: ProblemError) -> None:
        """Tell that a vote is not taken."""
        self._site.door.ingest.refused(problem)
        self.answer(request, problem)

    def answer(self, request: _Sent, problem: ProblemError | None) -> None:
        """Tell what became of a vote; None: Kafka has it."""
        if request in self._unanswered:  # else it is too late: that was told already
            del self._unanswered[request]
            self._say(_told(request.vote_id, problem, self._path()))

    def abort(self) -> None:
        """End at once."""
        self._transport.abort()

    def _answer_overdue(self, now: float) -> None:
        """Tell that Kafka has not acknowledged: a viewer is not to wait as long as Kafka is away."""
        while self._unanswered:
            oldest = next(iter(self._unanswered))
            if now < oldest.until:
                return
            self.refuse(oldest, unanswered())

    def _wait(self) -> None:
        """Say until when nothing needs to be done."""
        if not self._closing:
            oldest = next(iter(self._unanswered), None)
            self.deadline = self._quiet_until if oldest is None else min(oldest.until, self._quiet_until)

    def _path(self) -> str:
        return "/v1/shows/{}/polls/{}/socket".format(*self._poll_id)

    def _say(self, content: bytes) -> None:
        if not self._closing and not self._transport.is_closing():
            self._transport.write(text_frame(content))

    def _close(self, code: int, reason: str) -> None:
        self._protocol.send_close(code, reason)
        self._flush()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.write_eof()
        if self._protocol.close_expected() and not self._closing:
            self._closing, self.deadline = True, time.monotonic() + CLOSE_S


def _impatient() -> ProblemError:
    return ProblemError(HTTPStatus.TOO_MANY_REQUESTS, "wait for the answers to your votes", kind="too-many-votes")


def _leaving() -> ProblemError:
    return again_later(HTTPStatus.SERVICE_UNAVAILABLE, "connect again, to another edge", "draining")


def _told(vote_id: str | None, problem: ProblemError | None, path: str) -> bytes:
    if problem is None:
        return orjson.dumps({"vote_id": vote_id, "status": 202})
    return b'{"vote_id":%b,%b' % (orjson.dumps(vote_id), problem.content(path)[1:])


def _make_problem(response: Response, path: str) -> None:
    """Tell what is wrong with a handshake as everything is told that is wrong."""
    why = (response.body or b"").decode().strip()
    response.body = ProblemError(HTTPStatus(response.status_code), why).content(path.partition("?")[0])
    for name, value in (("Content-Type", MEDIA_TYPE), ("Content-Length", str(len(response.body)))):
        del response.headers[name]
        response.headers[name] = value


def _is_utf_8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _id_in(text: bytes) -> str | None:
    """Find the vote id, also in what is not taken: so that the client knows which vote is meant."""
    try:
        vote_id = _decode_id(text).vote_id
    except (msgspec.DecodeError, RecursionError):
        return None
    return vote_id if isinstance(vote_id, str) and len(vote_id) <= UUID_CHARACTERS else None
