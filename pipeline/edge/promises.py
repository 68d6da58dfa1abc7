"""When to come again: each who is told so is promised the moment of a turn behind all who were told so before.

Told to come earlier, they would only be refused again, and refusing would be all the work there is.
"""

import math
import time
from functools import lru_cache
from http import HTTPStatus

from pipeline.web.problems import ProblemError, again_later

ASSUMED_PER_S = 10_000  # requests served, before it was seen how many can be
LATEST_S = 30  # to come again: a viewer waits no longer
MOMENTS = 1024  # to come again, that are told apart
JITTER = 64  # of them: few who come again are spread as well, though there is room for all of them


class Promises:
    """The promises of one process."""

    def __init__(self) -> None:
        self._last = 0.0  # what was promised to the last one (s, monotonic)
        self._made = 0

    def next(self, per_s: float) -> ProblemError:
        """Make the next one, where so many requests/s can be served (infinite: nobody knows)."""
        self._made += 1
        now = time.monotonic()
        step_s = 1 / (ASSUMED_PER_S if math.isinf(per_s) else per_s)
        self._last = min(max(self._last, now) + step_s, now + LATEST_S)
        moment = int((self._last - now) * MOMENTS / LATEST_S) + self._made % JITTER
        if moment >= MOMENTS - 1:  # there are too many for any promise: spread them over the later half
            moment = MOMENTS // 2 + self._made % (MOMENTS // 2)
        return _come_again(moment)


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
