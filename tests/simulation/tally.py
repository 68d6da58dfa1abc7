"""The tally's world: a ledger is at every moment the fold of its partition's log before the ledger's next offset."""

from typing import Any

from pipeline.domain.fold import fold
from pipeline.domain.memory import PollMemory
from pipeline.domain.partition import PartitionTally

from .redis import SimulatedRedis
from .votes import SimulatedLog
from .worker import PARTITIONS, TallyWorker
from .world import InvariantError, World


class TallyWorld(World):
    """Workers of the tally, and Redis."""

    def __init__(self, seed: int, redis: SimulatedRedis | None = None) -> None:
        self.redis = redis or SimulatedRedis()
        super().__init__(seed, self.redis)
        self._expected = [expected_ledgers(self.log, partition) for partition in range(PARTITIONS)]
        self._checked = 0

    def begun(self, name: str) -> TallyWorker:
        return TallyWorker(name, self.log, self.redis)

    def reached(self, partition: int) -> int:
        return self.redis.next_offset(partition) or 0

    def check(self) -> None:
        super().check()
        if self._checked == self.redis.changes:
            return
        self._checked = self.redis.changes
        for partition, tally in self.redis.tallies.items():
            found, expected = contents(tally), self._expected[partition][tally.next_offset]
            if found != expected:
                raise InvariantError(
                    f"ledger {partition} at {tally.next_offset} is not the fold of its log:\n{found}\n{expected}"
                )


def expected_ledgers(log: SimulatedLog, partition: int) -> list[Any]:
    """Fold a log record by record: the contents of its ledger at every offset."""
    tally = PartitionTally()
    state, expected = tally.state(), [contents(tally)]
    for record in log.batch(partition, 0, len(log.written[partition])).split(1):
        state, chunk = fold(state, record)
        tally.apply(chunk)
        expected.append(contents(tally))
    return expected


def contents(tally: PartitionTally) -> Any:
    """Give all that a ledger holds, in a form that can be compared."""
    polls = {poll_id: [_plain(part) for part in vars(held).values()] for poll_id, held in tally.polls.items()}
    return tally.next_offset, tally.clock_ms, _plain(tally.outcomes), polls


def _plain(part: Any) -> Any:
    """Copy a part of a ledger; a counter's zeros are as good as nothing."""
    if isinstance(part, PollMemory):
        return part.content()
    if not isinstance(part, dict):
        return part
    return {key: held for key, held in part.items() if held}
