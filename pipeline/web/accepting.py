"""Accepting connections as fast as they come, and no faster than there is room for them.

A server of uvloop accepts one connection in each round of its event loop (libuv#3696). Idle, nobody notices. Under load a round
takes tens of milliseconds, and a crowd that connects at that moment would wait for minutes.

While there is no room, connections wait where the kernel keeps them, which costs nothing; beyond its backlog a client's own
kernel tries again by itself. To accept and close each of them would take from those who are served. The backlog is short then:
at its end one would wait longer than a viewer does, and once there is room, those who have gone would be accepted first.
"""

import asyncio
import socket
from collections.abc import Callable

import structlog

from pipeline.web.listening import BACKLOG

MOST_IN_A_ROUND = 256  # connections; the event loop has others to serve as well
LOOK_S = 0.01  # for room, while there is none
SHORT_BACKLOG = 64  # meanwhile
# When the system has no files or no memory left; and between looks whether many may wait in the kernel again.
PAUSE_S = 0.5

log = structlog.get_logger(__name__)


class Acceptor:
    """Accepts connections of a listening socket, and gives each a protocol.

    `room` is asked each time before some are accepted, and gives how many more there may be.
    """

    def __init__(
        self, listening: socket.socket, make_protocol: Callable[[], asyncio.Protocol], room: Callable[[], int]
    ) -> None:
        self._listening, self._make_protocol, self._room = listening, make_protocol, room
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[object]] = set()
        self._is_closed = self._is_short = False
        listening.setblocking(False)
        listening.listen(BACKLOG)
        self._resume()
        self._look_again()

    def close(self) -> None:
        """Accept nobody any more but who has connected; connections that there are go on. It may be called again."""
        if not self._is_closed:
            self._accept()
            self._is_closed = True
            self._loop.remove_reader(self._listening)

    def _resume(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._listening, self._accept)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._loop.call_later(seconds, self._resume)

    def _accept(self) -> None:
        room = self._room()
        self._fit_backlog(room)
        some = min(MOST_IN_A_ROUND, room - len(self._tasks))
        if some <= 0:
            self._pause(LOOK_S)
        for _ in range(some):
            try:
                connection, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue  # it has gone already
            except OSError as error:
                log.warning("connections are not accepted for a moment", error=str(error))
                self._pause(PAUSE_S)
                return
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio does so for its own servers only
            task = self._loop.create_task(self._loop.connect_accepted_socket(self._make_protocol, connection))
            self._tasks.add(task)
            task.add_done_callback(self._accepted)

    def _fit_backlog(self, room: int) -> None:
        """Have few wait in the kernel once there is no room, and many when there is again: it is told by listening anew."""
        is_short = room <= 0 or (self._is_short and room < MOST_IN_A_ROUND)
        if is_short != self._is_short:
            self._is_short = is_short
            self._listening.listen(SHORT_BACKLOG if is_short else BACKLOG)

    def _look_again(self) -> None:
        """Let many wait when there is room for them, though nobody comes now: the next may be a crowd."""
        if not self._is_closed:
            if self._is_short:
                self._fit_backlog(self._room())
            self._loop.call_later(PAUSE_S, self._look_again)

    def _accepted(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a connection was lost while it was accepted", error=str(error))
