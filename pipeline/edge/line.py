"""Where requests that were read wait for their turn: first come, first served, a few milliseconds' worth at a time.

A round of the event loop first reads every connection that has something. Were each request served as it is read, a crowd's
thousands would hold up the acknowledgements of those before them, and whatever came beyond the votes in flight would have to
be refused although there is room for it a moment later.

A viewer who has waited too long gives up and sends the vote again, and then work is spent on answers that nobody waits for. So
what would wait that long is told to come again at once (``promises``), which costs little; and while there is so much of it
that even this would be most of the work, it is not read (``reading``).
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from pipeline.edge.pace import Pace
from pipeline.edge.promises import Promises
from pipeline.edge.reading import AT_ONCE, Held, Reading, earned
from pipeline.web.problems import ProblemError

TURN_S = 0.005  # then others of the event loop have theirs
LOOK_S = 0.005  # for room, while there is none
LEAST_PLACES = 500  # so that more are served again, when more can be
SHORTER = 0.25  # than what is served while one may wait is a crowd's line: most wait elsewhere before
STALLED_S = 0.5  # nobody can be served: it is Kafka that is waited for, and there is time to refuse everybody
MOST_BYTES = 64 << 20  # of all that waits; arrays of edges in front may be large

log = structlog.get_logger(__name__)


class Waiting(Protocol):
    """Who waits in the line. Nothing happens to one that has gone meanwhile.

    Attributes:
        has_hung_up: sends no more. In a crowd that is a client who has given up, otherwise one who still wants an answer.
    """

    has_hung_up: bool

    def serve(self, request: Any) -> None:
        """Take the request; it is its turn."""

    def refuse(self, request: Any, problem: ProblemError) -> None:
        """Tell that it is not taken."""

    def abort(self) -> None:
        """End; something is wrong with us."""


_Place = tuple[float, Waiting, object, int, int]  # since when (s, monotonic), who, with what, votes, bytes


class Line:
    """The line of one process."""

    def __init__(self, room: Callable[[], int], wait_s: float) -> None:
        """Choose.

        Args:
            room: how many votes can be taken now.
            wait_s: how long a request may wait.
        """
        self._room, self._wait_s = room, wait_s
        self._waiting: deque[_Place] = deque()
        self._bytes = 0
        self._most_waiting = math.inf
        self._pace, self._promises, self._reading = Pace(), Promises(), Reading()
        self._is_called = False
        self._moved_at = 0.0  # it was not Kafka that was waited for (s, monotonic)

    def join(self, who: Waiting, request: object, *, votes: int, size: int) -> None:
        """Wait for a turn, with a request of so many votes at most, and of so many bytes."""
        if self._bytes + size > MOST_BYTES or len(self._waiting) > self._most_waiting:
            self._pace.refused()
            self._refuse(who, request)
            return
        self._bytes += size
        self._waiting.append((time.monotonic(), who, request, votes, size))
        self._call(0.0)

    def hold(self, who: Held) -> bool:
        """Tell whether a connection that has its answer is to wait; then it is told when it may read on."""
        if not self._pace.is_crowded:
            return False
        self._reading.hold(who)
        self._call(0.0)
        return True

    def leave(self, who: Held) -> None:
        """Let go of a connection that has ended, if it is held."""
        self._reading.leave(who)

    def room_to_accept(self) -> int:
        """Give how many connections may be accepted now."""
        return self._reading.room() if self._pace.is_crowded and self._waiting else AT_ONCE

    def accepted(self) -> None:
        """Take note of one that was."""
        if self._pace.is_crowded:
            self._reading.accepted()

    def _turn(self) -> None:
        self._is_called = False
        began = now = time.monotonic()
        if self._pace.look_back(now):
            self._most_waiting = self._places()
        room, served, may_read = 0, 0, 0.0
        is_full = False  # what is on its way to Kafka
        while self._waiting and now < began + TURN_S:
            since, who, request, votes, size = self._waiting[0]
            is_late = now > since + self._wait_s
            is_in_vain = is_late or (who.has_hung_up and self._pace.is_crowded)
            if votes > room and not is_in_vain:
                room = self._room()  # it is asked anew when it may be used up: many bring fewer votes than they might
                if votes > room:
                    is_full = True
                    break
            self._waiting.popleft()
            self._bytes -= size
            try:
                if is_late:
                    self._pace.refused()
                if is_in_vain:
                    self._refuse(who, request)
                else:
                    room -= votes
                    served += 1
                    may_read += earned(size)
                    who.serve(request)
            except Exception:
                log.exception("a bug ended a connection")
                who.abort()
            now = time.monotonic()
        if served or not is_full:
            self._moved_at = now
        is_busy = self._waiting and now < self._moved_at + STALLED_S
        self._reading.go_on(may_read if is_busy else math.inf, now)
        self._pace.served(served, waiting=len(self._waiting), held=len(self._reading))
        if self._waiting or self._reading:
            self._call(LOOK_S if is_full else 0.0)

    def _places(self) -> float:
        """Give how many may wait: as many as are served while one may; in a crowd, which waits elsewhere before, fewer."""
        return max(LEAST_PLACES, self._pace.per_s * self._wait_s * (SHORTER if self._pace.is_crowded else 1.0))

    def _refuse(self, who: Waiting, request: object) -> None:
        who.refuse(request, self._promises.next(self._pace.per_s))

    def _call(self, seconds: float) -> None:
        if not self._is_called:
            self._is_called = True
            asyncio.get_running_loop().call_later(seconds, self._turn)
