"""Redis: the ledgers of all partitions, as the model of the script keeps them, on a server that can go back in time."""

from copy import deepcopy

from pipeline.domain.fold import Chunk, PartitionState
from pipeline.domain.partition import Answer, PartitionTally
from pipeline.ledger.ledger import Ledger, Reply

from .wire import Wire


class SimulatedRedis:
    """The server. Each of its methods is atomic, as a script or a transaction is."""

    def __init__(self) -> None:
        self.tallies: dict[int, PartitionTally] = {}
        self._saved: list[dict[int, PartitionTally]] = []
        self.changes = 0

    def over(self, wire: Wire) -> Ledger:
        """Connect to it."""
        return LedgerOfWorker(self, wire)

    def create(self, partition: int, base: int) -> None:
        self.tallies.setdefault(partition, PartitionTally(base))

    def next_offset(self, partition: int) -> int | None:
        tally = self.tallies.get(partition)
        return None if tally is None else tally.next_offset

    def state(self, partition: int) -> PartitionState | None:
        tally = self.tallies.get(partition)
        return None if tally is None else tally.state()

    def apply(self, chunk: Chunk) -> Reply:
        tally = self.tallies.get(chunk.partition)
        if tally is None:
            return Reply(Answer.GAP, -1)
        self.changes += 1
        return Reply(tally.apply(chunk), tally.next_offset)

    def save(self) -> None:
        """Keep a copy, as a snapshot or a replica does."""
        self._saved.append(deepcopy(self.tallies))

    def roll_back(self, copy: int) -> bool:
        """Go back to a copy: what came after it is lost. False: there is none."""
        if not self._saved:
            return False
        del self._saved[copy % len(self._saved) + 1 :]
        self.tallies = deepcopy(self._saved[-1])
        self.changes += 1
        return True

    def wipe(self) -> None:
        self.tallies = {}


class LedgerOfWorker(Ledger):
    """The ledgers as one worker reaches them."""

    def __init__(self, redis: SimulatedRedis, wire: Wire) -> None:
        self.redis, self.wire = redis, wire

    async def next_offset(self, partition: int) -> int | None:
        found: int | None = await self.wire.call(lambda _: self.redis.next_offset(partition))
        return found

    async def load(self, partition: int, kept: PartitionState | None = None) -> PartitionState | None:
        state: PartitionState | None = await self.wire.call(lambda _: self.redis.state(partition))
        return kept if state is not None and kept is not None and kept.is_where(state) else state

    async def create(self, partition: int, base: int) -> None:
        await self.wire.call(lambda _: self.redis.create(partition, base))

    async def apply(self, chunk: Chunk) -> Reply:
        reply: Reply = await self.wire.call(lambda _: self.redis.apply(chunk))
        return reply
