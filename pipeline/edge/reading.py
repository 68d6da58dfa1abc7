"""Whose requests are read, while more come than can be served: little more of them than are served.

To read a request and refuse it costs a good part of what it costs to serve a single vote. So the others wait where the kernel
keeps them, which costs nothing: a connection that has its answer is *held*, and its next request read when it may be, and new
connections are accepted in step with that.

Whoever waits there for too long gives up, and nobody sees it. If those held for longest came first, then with more connections
than can be served within a viewer's patience all would be read too late. So those who are held last come first, once some wait
for long (adaptive LIFO: B. Maurer, "Fail at Scale", ACM Queue 13/8, 2015): they are in time, and the others cost nothing.
"""

import time
from collections import OrderedDict
from typing import Protocol

from pipeline.web.accepting import MOST_IN_A_ROUND

# Requests that are read for each that is served, and for so many bytes that are: then to refuse the others takes a tenth of
# the time. It costs half of what it costs to serve one vote.
PER_SERVED, BYTES = 1.2, 10_000
NEW_COSTS = 3  # as many requests: to accept a connection, and to close it
AT_ONCE = MOST_IN_A_ROUND  # connections, while nobody else waits: as many as tell the acceptor that there is room
LONG_S = 1.0  # to be held
LONGEST_EVERY = 8  # of those who are read on then: it has gone, most likely, and is seen to be


class Held(Protocol):
    """A connection whose next request is not read yet."""

    def read_on(self) -> None:
        """Read it."""


def earned(size: int) -> float:
    """Give how many requests may be read, for one of so many bytes that was served."""
    return PER_SERVED + size / BYTES


class Reading:
    """What may be read by one process, while more come than can be served."""

    def __init__(self) -> None:
        self._held: OrderedDict[Held, float] = OrderedDict()  # since when (s, monotonic)
        self._may_read = self._may_accept = 0.0  # requests, of those who are held and of new ones
        self._read = 0  # of those who were held

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, who: Held) -> None:
        """Have a connection wait, until it is told to read on."""
        self._held[who] = time.monotonic()

    def leave(self, who: Held) -> None:
        """Let go of a connection that has ended, if it is held."""
        self._held.pop(who, None)

    def room(self) -> int:
        """Give how many connections may be accepted."""
        return int(self._may_accept / NEW_COSTS)

    def accepted(self) -> None:
        """Take note of one that was."""
        self._may_accept -= NEW_COSTS

    def go_on(self, more: float, now: float) -> None:
        """Have some of those who are held read on, as `more` requests may be read (infinite: any number, in their turns).

        They have half of what may be read, and more where fewer new ones come: those have the same right.
        """
        self._may_accept += more / 2
        self._may_read = min(self._may_read + more / 2 + max(0.0, self._may_accept - AT_ONCE), AT_ONCE)
        self._may_accept = min(self._may_accept, AT_ONCE)
        for _ in range(min(len(self._held), int(self._may_read))):
            self._may_read -= 1
            self._read += 1
            is_long = now > next(iter(self._held.values())) + LONG_S
            who, _since = self._held.popitem(last=is_long and self._read % LONGEST_EVERY != 0)
            who.read_on()
