"""What is on the air of one poll, as one value: pure decisions about numbers, and about when to hold them.

A snapshot was built from a place in every partition's log, its ``next_offsets``. Ledgers only grow, so of two snapshots the
one that is nowhere behind the other is the newer one, whoever made it and whatever the clocks say. A ledger that stands
behind what a snapshot was built from was rolled back or wiped: until it has been folded again the snapshot is *held*.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from pipeline.domain.fold import Cell
from pipeline.domain.poll import PollId, Status
from pipeline.domain.result import Result

FORMAT = 1  # of the display's hash and JSON


class ShownStatus(StrEnum):
    """What the display says of a poll: its status, or that its numbers are held meanwhile."""

    OPEN = "open"
    CLOSING = "closing"
    FINAL = "final"
    RECOUNTING = "recounting"


class OptionShown(msgspec.Struct, frozen=True):
    """One bar."""

    id: str
    label: str | None  # any text: escape it
    color: str | None  # "#rrggbb"
    votes: int
    share: float  # per cent of all votes, to one decimal
    last: int  # votes in the snapshot's `second`


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the air needs of a poll. Instants are ms since the epoch."""

    version: int = 0  # given when it is shown; must stay the first field, see ``encode_tail``
    show_id: str
    poll_id: str
    status: ShownStatus
    phase: Status  # the poll's own status, also while it is being recounted
    total: int
    rate: int  # votes in `second`
    second: int  # start of the last second that has ended and settled
    options: tuple[OptionShown, ...]  # in the order of the opening marker
    outcomes: dict[str, int]  # of this poll's records since it opened, by name
    votes_per_voter: int
    opened_at: int
    closed_at: int | None
    complete_to: int  # nothing that was cast before this is still expected
    as_of: int  # when the ledgers were read
    lag: int | None  # records in the log that are not counted yet; 0 when final; None: Kafka does not say
    voids: int  # decisions that strike votes from these numbers: the official result is the audit's
    conflicts: tuple[int, ...]  # partitions whose markers contradict the others': not a result to announce
    topic: str
    next_offsets: tuple[int, ...]  # partition p's log before next_offsets[p] is in these numbers, nothing else

    @property
    def id(self) -> PollId:
        """Show and poll."""
        return PollId(self.show_id, self.poll_id)


@dataclass(frozen=True)
class Instants:
    """What is known of time when a snapshot is made (ms since the epoch)."""

    as_of: int
    complete_to: int
    second: int
    lag: int | None


_VERSION_ZERO = b'{"version":0,'


def share(votes: int, total: int) -> float:
    """Give the per cent to one decimal, half up. Each by itself: equal votes show equal shares, even if the sum is 99.9."""
    return (2000 * votes + total) // (2 * total) / 10 if total else 0.0


def snapshot(result: Result, instants: Instants, topic: str) -> Snapshot:
    """Make the snapshot of a merged result, whose windows hold at least `instants.second`."""
    total = result.total
    last = {option.id: result.windows.get(Cell(option.id, instants.second), 0) for option in result.rules.options}
    return Snapshot(
        show_id=result.poll_id.show_id,
        poll_id=result.poll_id.poll_id,
        status=ShownStatus(result.status),
        phase=result.status,
        total=total,
        rate=sum(last.values()),
        second=instants.second,
        options=tuple(
            OptionShown(
                option.id,
                option.label,
                option.color,
                votes := result.totals[option.id],
                share(votes, total),
                last[option.id],
            )
            for option in result.rules.options
        ),
        outcomes={str(outcome): number for outcome, number in result.outcomes.items()},
        votes_per_voter=result.rules.votes_per_voter,
        opened_at=result.rules.opened_at,
        closed_at=result.closed_at,
        complete_to=instants.complete_to,
        as_of=instants.as_of,
        lag=0 if result.status is Status.FINAL else instants.lag,
        voids=len(result.voids_in_force),
        conflicts=tuple(result.conflicts),
        topic=topic,
        next_offsets=tuple(reading.next_offset or 0 for reading in result.partitions),
    )


def is_behind(next_offsets: Sequence[int], shown: Snapshot) -> bool:
    """Tell whether ledgers that were read *after* the snapshot was made lack something that is in it."""
    return any(now < then for now, then in zip(next_offsets, shown.next_offsets, strict=True))


def hold(shown: Snapshot, lag: int | None) -> Snapshot:
    """Keep the numbers while a ledger is folded again."""
    return msgspec.structs.replace(shown, status=ShownStatus.RECOUNTING, lag=lag)


def says_the_same(one: Snapshot, other: Snapshot) -> bool:
    """Tell whether a viewer could not tell them apart: then there is nothing to publish."""
    return (
        msgspec.structs.replace(one, version=other.version, as_of=other.as_of, next_offsets=other.next_offsets) == other
    )


def encode_tail(shown: Snapshot) -> bytes:
    """Write a snapshot as JSON without its beginning up to the version, which is decided when it is shown."""
    encoded = msgspec.json.encode(msgspec.structs.replace(shown, version=0))
    return encoded.removeprefix(_VERSION_ZERO)


def with_version(tail: bytes, version: int) -> bytes:
    """Complete what ``encode_tail`` gave; the Lua script does the same."""
    return b'{"version":%d,%b' % (version, tail)


def decode(encoded: bytes) -> Snapshot:
    """Read a snapshot's JSON.

    Raises:
        msgspec.ValidationError: it is of another form.
    """
    return msgspec.json.decode(encoded, type=Snapshot)
