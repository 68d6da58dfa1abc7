"""All connections of an edge: how many there may be, when they have waited too long, and how they end."""

import asyncio
import time
from contextlib import suppress
from itertools import islice

from pipeline.domain.poll import PollId
from pipeline.edge.connection import HttpConnection
from pipeline.edge.door import Door
from pipeline.edge.heads import handshake
from pipeline.edge.line import Line
from pipeline.edge.messages import Request
from pipeline.edge.results import Results
from pipeline.edge.socket import VoterSocket
from pipeline.settings import Settings

SWEEP_EVERY_S = 1.0
LEAST_IDLE_S = 0.5  # before a connection may have to make room: its client may be about to use it
AT_ONCE = 64  # connections that make room; how many wait for it is not known
DRAIN_LOOK_S = 0.05


class Site:
    """What connections share."""

    def __init__(self, door: Door, results: Results, settings: Settings, most_connections: int) -> None:
        self.door, self.results = door, results
        self.request_s, self.answer_s = settings.edge_request_s, settings.edge_answer_s
        self.line = Line(door.ingest.room, settings.edge_wait_s)
        self.most_connections = most_connections
        self._connections: set[HttpConnection | VoterSocket] = set()
        self.sockets = 0
        # Since when (s, monotonic); the longest first.
        self._idle: dict[HttpConnection | VoterSocket, float] = {}
        self.made_room = 0  # connections that were closed for others
        self.is_draining = False

    def __len__(self) -> int:
        return len(self._connections)

    def room(self) -> int:
        """Give how many more connections may come. When there is no room, some idle ones are closed, which soon makes some."""
        free = self.most_connections - len(self._connections)
        if free <= 0:
            self._make_room()
        return min(free, self.line.room_to_accept())

    def _make_room(self) -> None:
        idle_since = time.monotonic() - LEAST_IDLE_S
        for connection, since in list(islice(self._idle.items(), AT_ONCE)):
            if since > idle_since:
                return
            del self._idle[connection]
            connection.drain()
            self.made_room += 1

    def opened(self, connection: HttpConnection | VoterSocket) -> None:
        """Take a connection."""
        self._connections.add(connection)
        self.line.accepted()

    def closed(self, connection: HttpConnection | VoterSocket) -> None:
        """Let go of a connection."""
        self._connections.discard(connection)
        self._idle.pop(connection, None)

    def idle(self, connection: HttpConnection, now: float) -> None:
        """Take note that a connection waits for its client's next request."""
        self._idle.pop(connection, None)  # to the end
        self._idle[connection] = now

    def busy(self, connection: HttpConnection) -> None:
        """Take note that it does so no longer."""
        self._idle.pop(connection, None)

    def open_socket(self, transport: asyncio.Transport, poll_id: PollId, request: Request, rest: bytes) -> None:
        """Go on with a connection as a WebSocket."""
        socket = VoterSocket(self, transport, poll_id, request)
        self._connections.add(socket)
        transport.set_protocol(socket)
        socket.data_received(handshake(request))
        if rest:  # not with it: websockets would read frames before it has answered
            socket.data_received(rest)

    async def sweep(self) -> None:
        """End, for ever, what has waited too long."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            now = time.monotonic()
            for connection in list(self._connections):
                if now > connection.deadline:
                    connection.expire()

    async def drain(self, within_s: float) -> None:
        """Let every connection end when what it has in flight is answered; cut what has not after a time."""
        self.is_draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._connections:
                    for connection in list(self._connections):
                        connection.drain()
                    await asyncio.sleep(DRAIN_LOOK_S)
        for connection in list(self._connections):
            connection.cut()
