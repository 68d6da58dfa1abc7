"""How far time is counted: pure decisions about the wall clock, the log and the ledgers. Instants are ms since the epoch.

::

    cast_at      |--- second N ---|
    wall clock                    |<- lateness ->|
    slowest partition             |<- lateness ->|    here N is complete, whether or not anybody voted in it

How far a partition is counted in time: as far as the broker's append time of its last folded record; and if it had
nothing left to fold when the log's end was asked for, as far as that moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.domain.window import window_start

WINDOW_MS = 1000
LATENESS_MS = 2_000  # from a viewer's tap at the edge to the log; what comes later still counts, see ``seconds``
SETTLE_MS = 250  # until the last second is shown: from the edge to the ledger when nothing is wrong


@dataclass(frozen=True)
class Position:
    """How far one partition is folded. Without a ledger: nowhere."""

    next_offset: int = 0
    clock_ms: int = 0  # the latest append time so far


@dataclass(frozen=True)
class LogEnd:
    """The offsets after the last records, which were asked for at an instant."""

    asked_at: int
    next_offsets: Sequence[int]


def counted_to(positions: Sequence[Position], end: LogEnd | None) -> int:
    """Give the instant up to which every partition is counted. `end` None: Kafka does not say."""
    return min(
        max(position.clock_ms, end.asked_at)
        if end is not None and position.next_offset >= end.next_offsets[partition]
        else position.clock_ms
        for partition, position in enumerate(positions)
    )


@dataclass(frozen=True)
class Times:
    """What time makes of a poll."""

    complete_to: int  # end of the last complete second; start of the first one while there is none
    second: int  # start of the last second that has ended and settled; after a close it stops at one without votes


def times(now_ms: int, counted_to_ms: int, opened_at: int, closed_at: int | None, *, final: bool) -> Times:
    """Say what is complete now. A final poll is complete by definition: nothing after its markers counts."""
    begin = window_start(opened_at, WINDOW_MS)
    end = None if closed_at is None else max(begin, end_of_last_second(closed_at))
    if final and end is not None:
        return Times(end, end)
    reached = min(now_ms, counted_to_ms)
    complete_to = window_start(reached - LATENESS_MS, WINDOW_MS)
    second = window_start(reached - SETTLE_MS, WINDOW_MS) - WINDOW_MS
    if end is not None:
        complete_to, second = min(complete_to, end), min(second, end)
    return Times(max(complete_to, begin), max(second, begin))


def end_of_last_second(closed_at: int) -> int:
    """Give the end of the last second in which a vote can count."""
    return window_start(closed_at + WINDOW_MS - 1, WINDOW_MS)


def lag(positions: Sequence[Position], end: LogEnd | None) -> int | None:
    """Give the number of records that were in the log and are not counted yet."""
    if end is None:
        return None
    return sum(max(0, last - position.next_offset) for position, last in zip(positions, end.next_offsets, strict=True))
