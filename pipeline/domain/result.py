"""The result of a poll: what all partitions have counted, merged. Sums, and nothing but sums."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.domain.fold import Cell
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import Poll, PollId, Status
from pipeline.domain.record import PollOpened


@dataclass(frozen=True)
class PartitionReading:
    """What one partition's ledger says of a poll. `poll` is None while the partition has not seen it open."""

    partition: int
    next_offset: int | None  # None: there is no ledger
    clock_ms: int = 0
    poll: Poll | None = None
    totals: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[Outcome, int] = field(default_factory=dict)
    windows: Mapping[Cell, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """The merged result. `totals` has every option, in the order of the opening marker."""

    poll_id: PollId
    rules: PollOpened
    status: Status
    closed_at: int | None
    totals: Mapping[str, int]
    outcomes: Mapping[Outcome, int]
    windows: Mapping[Cell, int]  # in order of time, then option
    partitions: Sequence[PartitionReading]
    conflicts: Sequence[int]  # partitions whose markers differ from the first partition's: not a result to announce

    @property
    def voids_in_force(self) -> list[str]:
        """Names of the decisions that strike votes from these totals. One that is taken back in any partition is none."""
        voids = [void for reading in self.partitions if reading.poll is not None for void in reading.poll.voids]
        ended = {void.decision.void_id for void in voids if not void.in_force}
        return list(dict.fromkeys(void.decision.void_id for void in voids if void.decision.void_id not in ended))

    @property
    def total(self) -> int:
        """All votes that count."""
        return sum(self.totals.values())


def merge(poll_id: PollId, readings: Iterable[PartitionReading]) -> Result | None:
    """Merge what the partitions say; None: none of them knows the poll.

    The status is the least advanced: a poll is final when it is final everywhere.
    """
    partitions = sorted(readings, key=lambda reading: reading.partition)
    polls = [reading.poll for reading in partitions if reading.poll is not None]
    if not polls:
        return None
    rules, closes = polls[0].rules, [poll.closed_at for poll in polls if poll.closed_at is not None]
    totals: Counter[str] = Counter({option.id: 0 for option in rules.options})
    outcomes: Counter[Outcome] = Counter()
    windows: Counter[Cell] = Counter()
    for reading in partitions:
        totals.update(reading.totals)
        outcomes.update(reading.outcomes)
        windows.update(reading.windows)
    return Result(
        poll_id,
        rules,
        _status([reading.poll for reading in partitions]),
        closes[0] if closes else None,
        totals,
        {outcome: outcomes[outcome] for outcome in Outcome if outcomes[outcome]},
        dict(sorted(windows.items(), key=lambda item: (item[0].window_start, item[0].option_id))),
        partitions,
        [
            reading.partition
            for reading in partitions
            if reading.poll is not None
            and (reading.poll.rules != rules or reading.poll.closed_at not in (None, *closes[:1]))
        ],
    )


def _status(polls: Sequence[Poll | None]) -> Status:
    if any(poll is None or poll.closed_at is None for poll in polls):
        return Status.OPEN
    return Status.FINAL if all(poll is not None and poll.final for poll in polls) else Status.CLOSING
