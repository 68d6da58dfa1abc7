"""A viewer's connection: HTTP/1.1 kept alive, or WebSocket. One shot at a time."""

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
import orjson
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from pipeline.load.plan import Plan, Shot

# What became of a try: status (0: none, the connection ended), and the problem's members, if it was one.
Answered = Callable[["Connection", Shot, int, dict[str, object]], None]


class Connection(asyncio.Protocol):
    """A connection, and the shot that waits for its answer."""

    def __init__(self, _plan: Plan, answered: Answered) -> None:
        self._answered = answered
        self._transport: asyncio.Transport
        self.shot: Shot | None = None
        self.sent_at = 0.0
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport  # type: ignore[assignment]
        self.is_open = True

    async def opened(self) -> None:
        """Wait until it can be used.

        Raises:
            ConnectionRefusedError: it cannot.
        """

    def connection_lost(self, _error: Exception | None) -> None:
        """Tell that there will be no answer."""
        self.is_open = False
        self._answer(0, {})

    def send(self, shot: Shot, now: float) -> None:
        """Send a shot."""
        self.shot, self.sent_at = shot, now
        self._transport.write(self._written(shot))

    def abort(self) -> None:
        """Give up."""
        self._transport.abort()

    def _written(self, shot: Shot) -> bytes:
        raise NotImplementedError

    def _answer(self, status: int, problem: dict[str, object]) -> None:
        shot, self.shot = self.shot, None
        if shot is not None:
            self._answered(self, shot, status, problem)


class HttpConnection(Connection):
    """Posts votes."""

    def __init__(self, plan: Plan, answered: Answered) -> None:
        super().__init__(plan, answered)
        show, poll = plan.poll_id
        token = f"Authorization: Bearer {plan.token}\r\n" if plan.token else ""
        self._head = (
            f"POST /v1/shows/{show}/polls/{poll}/votes HTTP/1.1\r\nHost: {plan.host[0]}:{plan.host[1]}\r\n"
            f"User-Agent: airtally-load\r\nAccept: */*\r\nContent-Type: application/json\r\n{token}Content-Length: "
        ).encode()
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""

    def data_received(self, data: bytes) -> None:
        """Read on."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_body(self, body: bytes) -> None:
        """Take a part of an answer."""
        self._body += body

    def on_message_complete(self) -> None:
        """Take an answer."""
        status, body, self._body = self._parser.get_status_code(), self._body, b""
        if not self._parser.should_keep_alive():
            self.is_open = False
            self._transport.close()
        self._answer(status, {} if status < 300 else object_in(body))

    def _written(self, shot: Shot) -> bytes:
        return b"%b%d\r\n\r\n%b" % (self._head, len(shot.body), shot.body)


class SocketConnection(Connection):
    """Stays connected, votes up and takes what comes down."""

    def __init__(self, plan: Plan, answered: Answered) -> None:
        super().__init__(plan, answered)
        show, poll = plan.poll_id
        query = "?result=1" if plan.wants_result else ""
        host, port = plan.host
        self._protocol = ClientProtocol(parse_uri(f"ws://{host}:{port}/v1/shows/{show}/polls/{poll}/socket{query}"))
        self._ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.results = 0

    async def opened(self) -> None:
        """Wait for the handshake.

        Raises:
            ConnectionRefusedError: there will be no WebSocket.
        """
        if not await self._ready:
            raise ConnectionRefusedError("not upgraded to a WebSocket")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        self._protocol.send_request(self._protocol.connect())
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell that there will be no answer."""
        super().connection_lost(error)
        if not self._ready.done():
            self._ready.set_result(False)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._protocol.receive_data(data)
        if self._protocol.state not in {State.CONNECTING, State.OPEN}:
            self.is_open = False  # its end may come right behind an answer: nothing more is sent here
        for event in self._protocol.events_received():
            if isinstance(event, Response) and not self._ready.done():
                self._ready.set_result(event.status_code == 101)
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._take(object_in(bytes(event.data)))
        self._flush()

    def _take(self, told: dict[str, object]) -> None:
        if "result" in told:
            self.results += 1
        elif self.shot is not None and told.get("vote_id") == self.shot.vote_id:
            self._answer(int(str(told["status"])), told)

    def _written(self, shot: Shot) -> bytes:
        self._protocol.send_text(shot.body)
        return b"".join(self._protocol.data_to_send())

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.close()


def object_in(body: bytes) -> dict[str, Any]:
    """Read an answer; what is no JSON object says nothing."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}
