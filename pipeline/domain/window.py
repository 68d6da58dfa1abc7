"""Windows: half-open runs of event time, [start, start + size), in integer milliseconds since the epoch."""


def window_start(instant_ms: int, size_ms: int) -> int:
    """Give the start of the window that holds an instant.

    >>> window_start(1_999, 1_000), window_start(2_000, 1_000)
    (1000, 2000)
    """
    return instant_ms - instant_ms % size_ms
