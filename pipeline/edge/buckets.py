"""Token buckets, as many as there are voters and addresses, in bounded memory.

They are local to a process on purpose: a round trip to Redis for each vote would cost more than the vote, and would end with
Redis. Behind n processes a voter has up to n times the rate. That is good enough for what this protects, which is the
edge: what counts is decided by the log, and there a voter has the votes that the poll's rules give.
"""

from pipeline.edge.recent import Recent

_ROUNDING_S = 1e-9


class Buckets:
    """Buckets by name, in the form of GCRA (ITU-T I.371): of each only the instant at which it will be full again.

    When there are too many, some that were not used lately are forgotten, and would begin full.
    """

    def __init__(self, per_s: float, burst: float, most: int) -> None:
        """Choose.

        Args:
            per_s: tokens that a bucket gets in a second.
            burst: tokens that it holds, and begins with; at least 1.
            most: buckets that are remembered; nearly half as many, those that were used last, always are.
        """
        self._interval_s = 1 / per_s
        self._burst_s = burst / per_s
        self._full_at: Recent[float] = Recent(most)

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, name: str, now: float, tokens: int = 1) -> float:
        """Take tokens, all or none, at an instant (s, monotonic). Give 0, or how long to wait (s) until there are enough."""
        full_at = max(self._full_at.get(name, now), now)
        taken_at = full_at + tokens * self._interval_s
        wait_s = taken_at - now - self._burst_s
        if wait_s <= _ROUNDING_S:
            full_at, wait_s = taken_at, 0.0
        self._full_at.put(name, full_at)  # also if it is refused: who asks on and on is not forgotten
        return wait_s
