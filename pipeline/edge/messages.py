"""Requests and replies of the edge, as bytes on the wire need them: made once where they are the same for everybody."""

import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from websockets.frames import Frame, Opcode

from pipeline.edge.tokens import Grant
from pipeline.web.problems import MEDIA_TYPE, ProblemError, again_later

JSON = "application/json"

# What keeps browsers from guessing and telling, and everybody from keeping answers.
_ALWAYS = "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nCache-Control: no-store\r\n"


class Request:
    """A request, as far as it has been read. `headers` has those that somebody asks for, names in lower case."""

    method = path = query = ""
    body = b""
    keep_alive = True
    grant: Grant | None = None  # of an edge in front
    problem: ProblemError | None = None  # for which it is not admitted

    def __init__(self, address: str) -> None:
        self.address = address
        self.headers: dict[bytes, bytes] = {}

    def header(self, name: bytes) -> str:
        """Give a header's value; empty: there is none."""
        return self.headers.get(name, b"").decode("latin-1")


class Reply:
    """A reply, ready but for what differs between connections."""

    __slots__ = ("_date", "_head", "_whole", "body", "status")

    def __init__(
        self, status: HTTPStatus, body: bytes, headers: Mapping[str, str] | None = None, media_type: str = JSON
    ) -> None:
        self.status, self.body = status, body
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        kind = f"Content-Type: {media_type}\r\n" if body else ""
        length = "" if status == HTTPStatus.NO_CONTENT else f"Content-Length: {len(body)}\r\n"
        self._head = f"HTTP/1.1 {status.value} {status.phrase}\r\n{kind}{length}{_ALWAYS}{lines}".encode("latin-1")
        self._date = self._whole = b""

    def written(self, more: bytes, *, with_body: bool = True) -> bytes:
        """Write it, with the date (RFC 9110, 6.6.1) and further header lines."""
        date = _date_at(int(time.time()))
        if more or not with_body:
            return b"%b%b%b\r\n%b" % (self._head, date, more, self.body if with_body else b"")
        if self._date is not date:  # the same to everybody within a second
            self._date, self._whole = date, b"%b%b\r\n%b" % (self._head, date, self.body)
        return self._whole


@lru_cache(maxsize=1)
def _date_at(second: int) -> bytes:
    return f"Date: {formatdate(second, usegmt=True)}\r\n".encode()


def problem_reply(problem: ProblemError, path: str) -> Reply:
    """Make the reply that tells a problem."""
    return _shared_reply(problem, path) if problem.is_shared else _problem_reply(problem, path)


@lru_cache(maxsize=4096)  # all of the line's, and of some addresses
def _shared_reply(problem: ProblemError, path: str) -> Reply:
    return _problem_reply(problem, path)


def _problem_reply(problem: ProblemError, path: str) -> Reply:
    return Reply(problem.status, problem.content(path), problem.headers, MEDIA_TYPE)


@lru_cache(maxsize=1024)
def accepted(votes: int) -> Reply:
    """Make the reply for votes that Kafka has."""
    return Reply(HTTPStatus.ACCEPTED, b'{"accepted":%d}' % votes)


def unanswered() -> ProblemError:
    """Tell that Kafka takes longer than a viewer is to wait."""
    return again_later(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Kafka has not acknowledged in time; send it again with the same vote_id: it counts once",
        "not-acknowledged",
    )


def text_frame(content: bytes) -> bytes:
    """Write a message to a WebSocket, as one frame."""
    return Frame(Opcode.TEXT, content).serialize(mask=False)
