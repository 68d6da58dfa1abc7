"""The wall clock, in the unit in which Kafka and the schemas have their instants."""

import time


def now_ms() -> int:
    """Read it: ms since the epoch."""
    return time.time_ns() // 1_000_000
