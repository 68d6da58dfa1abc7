"""A tally without a worker: folds records into real ledgers, remembers its log, and can fold it again."""

import uuid
from collections.abc import Sequence

from redis.asyncio import Redis

from pipeline.clock import now_ms
from pipeline.domain.batch import RecordBatch
from pipeline.domain.fold import PartitionState, fold
from pipeline.domain.partition import Answer
from pipeline.domain.poll import PollId
from pipeline.domain.record import Marker, Option, PollClosed, PollFinal, PollOpened, Vote, encode
from pipeline.ledger.ledger import Ledger
from pipeline.settings import Settings

Entry = tuple[int, bytes, bytes]  # append time, key, value

OPTIONS = (Option("ada", "Ada", "#3d8bfd"), Option("bo", "Bo"), Option("cy"))


class Count:
    """The ledgers of one topic, written here."""

    def __init__(self, client: Redis, found: Settings, poll_id: PollId) -> None:
        self.client, self.topic, self.poll_id = client, found.topic, poll_id
        self.ledger = Ledger(client, found.topic)
        self.log: list[list[Entry]] = [[] for _ in range(found.partitions)]
        self.states = [PartitionState(0) for _ in self.log]
        self.at: int | None = None  # when the votes to come are cast and appended; None: now
        self.edge_id = "edge-1"  # and by whom they are sent

    async def open(self, options: Sequence[Option] = OPTIONS, opened_at: int | None = None) -> None:
        for partition in range(len(self.log)):
            await self.ledger.create(partition, 0)
        await self.mark(PollOpened(*self.poll_id, now_ms() if opened_at is None else opened_at, tuple(options)))

    async def mark(self, marker: Marker) -> None:
        for partition in range(len(self.log)):
            await self.add(partition, [(now_ms(), b"marker", encode(marker))])

    async def close(self, ahead_ms: int = 0) -> None:
        await self.mark(PollClosed(*self.poll_id, now_ms() + ahead_ms))

    async def finalize(self) -> None:
        await self.mark(PollFinal(*self.poll_id))

    async def vote(self, option_id: str, number: int = 1, partition: int = 0) -> None:
        """Count votes of as many voters."""
        entries = []
        for _ in range(number):
            at = now_ms() if self.at is None else self.at
            vote = Vote(str(uuid.uuid4()), *self.poll_id, option_id, uuid.uuid4().hex, at, self.edge_id, "web")
            entries.append((at, vote.voter_id.encode(), encode(vote)))
        await self.add(partition, entries)

    async def add(self, partition: int, entries: list[Entry]) -> None:
        self.log[partition] += entries
        await self._fold(partition, entries)

    async def lose(self, partition: int) -> None:
        """Lose a partition's ledger, as when Redis was restored from an old copy."""
        await self.ledger.reset(partition, None)
        self.states[partition] = PartitionState(0)

    async def fold_again(self, partition: int, entries: int | None = None) -> None:
        """Fold the log of a lost ledger again, or its next entries."""
        await self.ledger.create(partition, 0)
        at = self.states[partition].next_offset
        await self._fold(partition, self.log[partition][at : None if entries is None else at + entries])

    async def _fold(self, partition: int, entries: list[Entry]) -> None:
        times, keys, values = zip(*entries, strict=True)
        at = self.states[partition].next_offset
        batch = RecordBatch.of(self.topic, partition, at, times, keys, values, [()] * len(entries))
        self.states[partition], chunk = fold(self.states[partition], batch)
        assert (await self.ledger.apply(chunk)).answer is Answer.APPLIED
