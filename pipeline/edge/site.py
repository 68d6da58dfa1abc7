"""All connections of an edge: how many there may be, when they have waited too long, and how they end."""

import asyncio
import time
from contextlib import suppress

from pipeline.domain.poll import PollId
from pipeline.edge.connection import HttpConnection
from pipeline.edge.door import Door
from pipeline.edge.messages import Request, handshake
from pipeline.edge.results import Results
from pipeline.edge.socket import VoterSocket
from pipeline.settings import Settings

SWEEP_EVERY_S = 1.0
DRAIN_LOOK_S = 0.05


class Site:
    """What connections share."""

    def __init__(self, door: Door, results: Results, settings: Settings, most_connections: int) -> None:
        self.door, self.results = door, results
        self.request_s, self.answer_s = settings.edge_request_s, settings.edge_answer_s
        self.most_connections = most_connections
        self._connections: set[HttpConnection | VoterSocket] = set()
        self.sockets = 0
        self.refused = 0  # connections that were one too many
        self.is_draining = False

    def __len__(self) -> int:
        return len(self._connections)

    def opened(self, connection: HttpConnection | VoterSocket) -> bool:
        """Take a connection; False: there is no room for it."""
        if len(self._connections) >= self.most_connections:
            self.refused += 1
            return False
        self._connections.add(connection)
        return True

    def closed(self, connection: HttpConnection | VoterSocket) -> None:
        """Let go of a connection."""
        self._connections.discard(connection)

    def open_socket(self, transport: asyncio.Transport, poll_id: PollId, request: Request, rest: bytes) -> None:
        """Go on with a connection as a WebSocket."""
        socket = VoterSocket(self, transport, poll_id, request)
        self._connections.add(socket)
        transport.set_protocol(socket)
        socket.data_received(handshake(request) + rest)

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
            connection.expire()
