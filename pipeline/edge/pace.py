"""How many requests one process can serve: seen while more come than that, for else nobody knows."""

import math
import time
from collections import deque

LOOK_BACK_S = 0.5  # at how many were served
LOOKS = 20  # at such times: the best of them tells what can be


class Pace:
    """Counts what is served and refused.

    Attributes:
        is_crowded: more came than could be served, and those who came meanwhile are not all served yet.
        per_s: requests that can be served; infinite: it was not seen of late.
    """

    def __init__(self) -> None:
        self.is_crowded = False
        self.per_s = math.inf
        self._rates: deque[float] = deque(maxlen=LOOKS)  # requests/s
        self._since, self._served, self._refused = time.monotonic(), 0, 0  # of the present look
        self._is_saturated = False  # some waited all the time, so that no more could have been served
        self._is_behind = False  # some are held after the last turn

    def served(self, requests: int, *, waiting: int, held: int) -> None:
        """Take note of a turn, and of how many wait, or are held, after it."""
        self._served += requests
        self._is_saturated = self._is_saturated and waiting > 0
        self._is_behind = held > 0

    def refused(self) -> None:
        """Take note of a request that was told to come again."""
        self._refused += 1
        self.is_crowded = True

    def look_back(self, now: float) -> bool:
        """See what was served, if it is time for it; tell whether it was.

        A look in which Kafka stood still says nothing; of the others, the best one of the last seconds does.
        """
        if now < self._since + LOOK_BACK_S:
            return False
        is_over = now > self._since + 2 * LOOK_BACK_S  # there was no turn for a while: nobody came
        self.is_crowded = (
            self._is_behind or (self.is_crowded and self._is_saturated) or (self._refused > 0 and not is_over)
        )
        if self._is_saturated and self._served:
            self._rates.append(self._served / (now - self._since))
        elif not self.is_crowded:
            self._rates.clear()  # it may have been another hour
        self.per_s = max(self._rates, default=math.inf)
        self._since, self._served, self._refused, self._is_saturated = now, 0, 0, True
        return True
