"""The crowd: sends shots when they are due, again when they fail, and listens to what it is told.

Open loop: a shot that finds no free connection waits for one, and its latency counts from when it was due. So a service that
stalls is seen to stall (no coordinated omission).
"""

import asyncio
import random
import time
from collections import deque
from contextlib import suppress

from pipeline.load.connections import Connection, HttpConnection, SocketConnection
from pipeline.load.oracle import Oracle
from pipeline.load.plan import Ballots, Plan, Shot

TICK_S = 0.002
OPENED_AT_ONCE = 64
BACKOFF_S = 0.25  # before the second try; doubled for each further one, with jitter
NOT_IN_LOG = {"urn:airtally:problem:overloaded", "urn:airtally:problem:too-many-votes"}
AGAIN = {0, 429, 500, 502, 503, 504}


class Crowd:
    """Plays one plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.oracle = plan, Oracle()
        self.fired = 0
        self.done = 0
        self._ballots = Ballots(plan)
        self._free: deque[Connection] = deque()
        self._waiting: deque[Shot] = deque()
        self._busy: dict[Connection, None] = {}  # in the order in which they were sent
        self._open = 0  # connections, also those that are being opened
        self._tasks: set[asyncio.Task[None]] = set()
        self._random = random.Random(plan.seed + 1)  # noqa: S311

    async def connect(self) -> int:
        """Open all connections, some at a time; give how many there are. Only sockets are opened before they are needed."""
        for first in range(0, self.plan.connections, OPENED_AT_ONCE):
            some = min(OPENED_AT_ONCE, self.plan.connections - first)
            self._open += some
            await asyncio.gather(*[self._connect() for _ in range(some)])
        return len(self._free)

    async def play(self) -> Oracle:
        """Fire all shots and wait until each is acknowledged, refused or given up."""
        began = time.monotonic()
        last_look = began
        while self.done < self.plan.shots:
            now = time.monotonic()
            # While as many wait for a connection as there are, none is made: later it is due at the same instant.
            while (
                self.fired < self.plan.shots
                and len(self._waiting) <= self.plan.connections
                and (due := began + self.fired / self.plan.per_s) <= now
            ):
                self._send(self._ballots.shot(self.fired, due))
                self.fired += 1
            if now - last_look > 0.05:
                self._look(now)
                last_look = now
            await asyncio.sleep(TICK_S)
        return self.oracle

    async def close(self) -> None:
        """Close all connections."""
        for connection in [*self._free, *self._busy]:
            with suppress(AttributeError):
                connection.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _send(self, shot: Shot) -> None:
        while self._free:
            connection = self._free.popleft()
            if connection.is_open:
                self._fire(connection, shot)
                return
            self._open -= 1
        self._waiting.append(shot)
        if self._open < self.plan.connections:
            self._open += 1
            task = asyncio.get_running_loop().create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _fire(self, connection: Connection, shot: Shot) -> None:
        shot.tries += 1
        self._busy[connection] = None
        connection.send(shot, time.monotonic())

    async def _connect(self) -> None:
        """Open a connection, and send what waits for one."""
        loop, (host, port) = asyncio.get_running_loop(), self.plan.host
        connection = (SocketConnection if self.plan.is_socket else HttpConnection)(self.plan, self._answered)
        try:
            async with asyncio.timeout(self.plan.timeout_s):
                await loop.create_connection(lambda: connection, host, port)
                await connection.opened()
        except (OSError, TimeoutError):
            if connection.is_open:
                connection.abort()  # one whose handshake comes later would be nobody's
            self.oracle.answers["no connection"] += 1
            self._open -= 1
            await asyncio.sleep(BACKOFF_S * self._random.random())
            if self._waiting and self._open < self.plan.connections:
                self._failed(self._waiting.popleft(), 0, {})
            return
        self._next(connection)

    def _next(self, connection: Connection) -> None:
        """Use a connection that has become free."""
        if not connection.is_open:
            self._open -= 1
            if self._waiting:
                self._send(self._waiting.popleft())
        elif self._waiting:
            self._fire(connection, self._waiting.popleft())
        else:
            self._free.append(connection)

    def _answered(self, connection: Connection, shot: Shot, status: int, problem: dict[str, object]) -> None:
        self._busy.pop(connection, None)
        self.oracle.answers[str(status) if status else "no answer"] += 1
        if status == 202:
            self.oracle.acknowledged(shot, time.monotonic())
            self.done += 1
        else:
            shot.may_be_in |= status in {0, 500, 502, 503, 504} and problem.get("type") not in NOT_IN_LOG
            self._failed(shot, status, problem)
        self._next(connection)

    def _failed(self, shot: Shot, status: int, problem: dict[str, object]) -> None:
        """Try again, as a good client does: later, each at another moment, with the same ids; or give up."""
        shot.last = str(problem.get("type", status)).rpartition(":")[2]
        patience_left = shot.due + self.plan.patience_s - time.monotonic()
        asked_ms = problem.get("retry_after_ms")
        wait_s = (
            asked_ms / 1000 if isinstance(asked_ms, int) else BACKOFF_S * 2**shot.tries * (0.5 + self._random.random())
        )
        if status not in AGAIN or shot.tries >= self.plan.tries or wait_s > patience_left:
            self.oracle.given_up(shot)
            self.done += 1
            return
        self.oracle.retries += 1
        asyncio.get_running_loop().call_later(wait_s, self._send, shot)

    def _look(self, now: float) -> None:
        """Give up what has no answer in time, or waits for a connection longer than a viewer would."""
        for connection in list(self._busy):
            if now - connection.sent_at < self.plan.timeout_s:
                break
            connection.abort()
        while self._waiting and now - self._waiting[0].due > self.plan.patience_s:
            self.oracle.given_up(self._waiting.popleft())
            self.done += 1
