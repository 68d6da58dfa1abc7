"""Where requests that were read wait for their turn: first come, first served, a few milliseconds' worth at a time.

A round of the event loop first reads every connection that has something. Were each request served as it is read, a crowd's
thousands would hold up the acknowledgements of those before them, and whatever came beyond the votes in flight would have to
be refused although there is room for it a moment later.

A viewer who has waited too long gives up and sends the vote again, and then work is spent on answers that nobody waits for. So
what has waited that long is told to come again, which costs little, and when: each is promised the moment at which it would be
its turn behind all who were told so before, at the pace at which requests are served. Told to come earlier, they would only be
refused again, and refusing would be all the work there is.

Yet to read a request and refuse it costs a good part of what it costs to serve a single vote. So while more come than can be
served, what is read is a little more than what is served; the rest waits where the kernel keeps it. Connections that have
their answer are *held* for that, and read on in their order; new ones are accepted in step with them.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol

import structlog

from pipeline.web.problems import ProblemError, again_later

TURN_S = 0.005  # then others of the event loop have theirs
LOOK_S = 0.005  # for room, while there is none
LEAST_PLACES = 500
LOOK_BACK_S = 1.0  # at how many were served, and how many told to come again
LOOKS = 10  # at seconds with more than could be served: the best of them tells what can be
ASSUMED_PER_S = 10_000  # requests served, before there were such seconds
# Requests that are read, while there are more than can be served, for each that is served, and for so many bytes that are: then
# refusing the others takes a fifth to a third of the time. To refuse a request costs half of what it costs to serve one vote.
READ_PER_SERVED, BYTES_PER_READ = 1.4, 2000
STALLED_S = 0.5  # nobody is served: it is Kafka that is waited for, and there is time to refuse everybody
SHORTER = 0.25  # than what is served while one may wait is the line then: most wait elsewhere before
READ_AT_ONCE = 256  # connections that are read on, when nobody waits
LATEST_S = 30  # to come again: a viewer waits no longer
MOMENTS = 1024  # to come again, that are told apart
JITTER = 64  # of them: few who come again are spread as well, though there is room for all of them
MOST_BYTES = 64 << 20  # of all that waits; arrays of edges in front may be large

log = structlog.get_logger(__name__)


class Waiting(Protocol):
    """Who waits in the line. Nothing happens to one that has gone meanwhile."""

    def serve(self, request: Any) -> None:
        """Take the request; it is its turn."""

    def refuse(self, request: Any, problem: ProblemError) -> None:
        """Tell that it is not taken."""

    def abort(self) -> None:
        """End; something is wrong with us."""


class Held(Protocol):
    """A connection whose next request is not read yet."""

    def read_on(self) -> None:
        """Read it."""


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
        self._is_called = False
        self._served_at = 0.0  # the last one (s, monotonic)
        self._most_waiting = math.inf
        self._rates: deque[float] = deque(maxlen=LOOKS)  # requests/s
        self._held: deque[Held] = deque()
        self._may_read = 0.0  # requests, of those that are held and from new connections
        self._pace_s = 1 / ASSUMED_PER_S  # between two who are served
        self._promised = 0.0  # to the last who was told to come again (s, monotonic)
        self._since, self._served, self._refused = time.monotonic(), 0, 0  # of the present look

    def join(self, who: Waiting, request: object, *, votes: int, size: int) -> None:
        """Wait for a turn, with a request of so many votes at most, and of so many bytes."""
        if self._bytes + size > MOST_BYTES or len(self._waiting) > self._most_waiting:
            self._refuse(who, request)
            return
        self._bytes += size
        self._waiting.append((time.monotonic(), who, request, votes, size))
        if not self._is_called:
            self._call(0.0)

    def hold(self, who: Held) -> bool:
        """Tell whether a connection that has its answer is to wait; then it is told when it may read on."""
        if not self._is_crowded:
            return False
        self._held.append(who)
        if not self._is_called:
            self._call(0.0)
        return True

    def room_to_read(self) -> int:
        """Give how many new connections may be read from now."""
        return int(self._may_read) if self._is_crowded and self._waiting else READ_AT_ONCE

    def began_to_read(self) -> None:
        """Take note of a new connection."""
        if self._is_crowded:
            self._may_read -= 1

    @property
    def _is_crowded(self) -> bool:
        """Whether more came than could be served, until all who were held for that read on."""
        return bool(self._held) or self._most_waiting < math.inf

    def _turn(self) -> None:
        self._is_called = False
        began = now = time.monotonic()
        if now > self._since + LOOK_BACK_S:
            self._look_back(now)
        room, served, earned = 0, 0, 0.0
        is_full = False  # what is on its way to Kafka
        while self._waiting and now < began + TURN_S:
            since, who, request, votes, size = self._waiting[0]
            is_late = now > since + self._wait_s
            if votes > room and not is_late:
                room = self._room()  # it is asked anew when it may be used up: many bring fewer votes than they might
                if votes > room:
                    is_full = True
                    break
            self._waiting.popleft()
            self._bytes -= size
            try:
                if is_late:
                    self._refuse(who, request)
                else:
                    room -= votes
                    served += 1
                    earned += READ_PER_SERVED + size / BYTES_PER_READ
                    who.serve(request)
            except Exception:
                log.exception("a bug ended a connection")
                who.abort()
            now = time.monotonic()
        self._served += served
        if served:
            self._served_at = now
        self._read_on(earned, now)
        if self._waiting or self._held:
            self._call(LOOK_S if is_full else 0.0)

    def _read_on(self, earned: float, now: float) -> None:
        """Have connections that are held read on: half of as many as may be read, for new ones have the same right.

        As many may be as serving has `earned`; where nobody waits, or nobody can be served, any number in its turn.
        """
        most = 2.0 * READ_AT_ONCE
        is_busy = self._waiting and now < self._served_at + STALLED_S
        self._may_read = min(self._may_read + earned, most) if is_busy else most
        for _ in range(min(len(self._held), math.ceil(self._may_read / 2))):
            self._may_read -= 1
            self._held.popleft().read_on()

    def _refuse(self, who: Waiting, request: object) -> None:
        self._refused += 1
        now = time.monotonic()
        self._promised = min(max(self._promised, now) + self._pace_s, now + LATEST_S)
        moment = int((self._promised - now) * MOMENTS / LATEST_S) + self._refused % JITTER
        if moment >= MOMENTS - 1:  # there are too many for any promise: spread them over the later half
            moment = MOMENTS // 2 + self._refused % (MOMENTS // 2)
        who.refuse(request, _come_again(moment))

    def _look_back(self, now: float) -> None:
        """See how many can be served, if more came than that.

        Then the line is not to be longer than what is served within a part of the time that one may wait: whoever comes behind
        that is told so at once. It has some places always, so that it grows when more is served again. What is promised is
        not less for a second in which Kafka stood still.
        """
        self._most_waiting = math.inf
        if self._refused:
            served_per_s = self._served / (now - self._since)
            self._most_waiting = max(LEAST_PLACES, served_per_s * self._wait_s * SHORTER)
            self._rates.append(served_per_s)
            self._pace_s = 1 / (max(self._rates) or ASSUMED_PER_S)
        self._since, self._served, self._refused = now, 0, 0

    def _call(self, seconds: float) -> None:
        self._is_called = True
        asyncio.get_running_loop().call_later(seconds, self._turn)


@lru_cache(maxsize=MOMENTS)
def _come_again(moment: int) -> ProblemError:
    """Make what those are told who are to come again at a moment, once: to refuse is to cost little."""
    step_s = LATEST_S / MOMENTS
    problem = again_later(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "more votes come than this edge can take in time",
        "overloaded",
        least_s=1.0 + moment * step_s,
        spread_s=step_s,
    )
    problem.is_shared = True
    return problem
