"""What an exact count must say of a show at an edge: from what viewers chose and were told, and the log as it is read."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.domain.outcome import Outcome
from pipeline.domain.record import PollClosed, PollFinal, Vote, decode
from pipeline.log.publisher import partition_of
from pipeline.show.expectation import MARKER, Expectation, Fate
from pipeline.show.script import Script
from tests.faults.oracle import Log, Logged, Truth

EARLIEST_MS, LATEST_MS = -60_000, 5_000  # rule 7: how far `cast_at` may lie from the append time


@dataclass
class _Count:
    """One vote of each viewer, wherever in the log it is first: the rules, for viewers who vote once and for an option."""

    script: Script
    chosen: Mapping[str, str]
    partitions: int

    def __post_init__(self) -> None:
        self.counted: set[str] = set()
        self.closed_at: int | None = None  # of the partition that is being read
        self.final = False

    def begin(self) -> None:
        """Read the next partition."""
        self.closed_at, self.final = None, False

    def fate(self, partition: int, record: Logged) -> Fate | None:
        """Tell what becomes of the next record; None: nobody sent it."""
        read = decode(record.value)
        if isinstance(read, Vote):
            return self._fate_of_vote(read, record.append_time) if self._was_cast(partition, record, read) else None
        if isinstance(read, PollClosed):
            self.closed_at = read.closed_at if self.closed_at is None else self.closed_at
        self.final |= isinstance(read, PollFinal)
        return None if read is None else MARKER

    def _was_cast(self, partition: int, record: Logged, vote: Vote) -> bool:
        """Tell whether a viewer sent this, and the edge put it where it belongs."""
        key = vote.voter_id.encode()
        return (
            (vote.show_id, vote.poll_id) == (self.script.show_id, self.script.poll_id)
            and self.chosen.get(vote.vote_id) == vote.option_id
            and record.key == key
            and partition == partition_of(key, self.partitions)
        )

    def _fate_of_vote(self, vote: Vote, append_time: int) -> Fate:
        if self.final or (self.closed_at is not None and vote.cast_at >= self.closed_at):
            return Fate(Outcome.LATE)
        if not EARLIEST_MS <= vote.cast_at - append_time <= LATEST_MS:
            return Fate(Outcome.IMPLAUSIBLE_TIME)
        if vote.vote_id in self.counted:  # also where that was in another partition: a voter has one only
            return Fate(Outcome.DUPLICATE)
        self.counted.add(vote.vote_id)
        return Fate(Outcome.COUNTED, option_id=vote.option_id, second=vote.cast_at - vote.cast_at % 1000)


def edge_truth(script: Script, chosen: Mapping[str, str], safe: set[str], log: Log) -> Truth:
    """Hold what viewers did and were told against the log.

    Args:
        script: whose poll it is.
        chosen: vote id -> option, of every vote that anybody sent.
        safe: the vote ids that were answered 202.
        log: the whole topic.
    """
    expected, unknown = Expectation(script.show_id, script.poll_id), 0
    count = _Count(script, chosen, len(log))
    for partition, records in log.items():
        count.begin()
        for record in records:
            fate = count.fate(partition, record)
            if fate is None:
                unknown += 1
            else:
                expected.expect(fate)
    return Truth(expected, expected.outcomes[Outcome.DUPLICATE], len(safe - count.counted), unknown)
