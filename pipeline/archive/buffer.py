"""When to flush: a policy, and the buffer that follows it. Pure: `now_ms` is an argument, any monotonic clock will do."""

from collections.abc import Collection
from dataclasses import dataclass, field

from pipeline.archive.flush import Flush, size_of
from pipeline.domain.batch import RecordBatch


@dataclass(frozen=True)
class FlushPolicy:
    """Limits of a flush. The first that is reached makes it due.

    ClickHouse likes few large inserts: each makes a part on its disk, and too many parts make it refuse inserts. Its block,
    within which an insert is atomic, ends at about a million rows or 256 MB: these limits stay well below.
    """

    max_rows: int = 150_000
    max_bytes: int = 64 << 20  # of keys and values; the rest of a row adds some 50 bytes to it
    # Since the oldest batch came in: how far the archive lags when little happens. A worker's two shares make two inserts then.
    max_age_ms: int = 1_000

    def buffer(self) -> "FlushBuffer":
        """Begin to collect."""
        return FlushBuffer(self)


@dataclass
class FlushBuffer:
    """Batches that wait for their flush."""

    policy: FlushPolicy
    rows: int = 0
    bytes: int = 0
    _since_ms: int | None = None
    _batches: list[RecordBatch] = field(default_factory=list)
    _next_offsets: dict[int, int] = field(default_factory=dict)  # only of partitions with batches here

    def add(self, batch: RecordBatch, now_ms: int) -> None:
        """Take a batch; an empty one is nothing.

        Raises:
            ValueError: it does not follow the partition's batch before it.
        """
        if not len(batch):
            return
        expected = self._next_offsets.get(batch.partition, batch.first_offset)
        if batch.first_offset != expected:
            raise ValueError(f"partition {batch.partition}: {batch.first_offset} does not follow {expected}")
        self._next_offsets[batch.partition] = batch.next_offset
        self._batches.append(batch)
        self.rows += len(batch)
        self.bytes += size_of(batch)
        if self._since_ms is None:
            self._since_ms = now_ms

    def is_due(self, now_ms: int) -> bool:
        """Tell whether a limit is reached. Nothing collected is never due."""
        return self.rows >= self.policy.max_rows or self.bytes >= self.policy.max_bytes or self.due_in_ms(now_ms) == 0

    def due_in_ms(self, now_ms: int) -> int | None:
        """Give the time until the age limit is reached, at least 0. None: nothing is collected."""
        if self._since_ms is None:
            return None
        return max(0, self._since_ms + self.policy.max_age_ms - now_ms)

    def take(self) -> Flush | None:
        """Give what is collected and begin anew. None: there is nothing."""
        batches = self._batches
        self._restart([], None)
        return Flush(batches) if batches else None

    def discard(self, partitions: Collection[int]) -> None:
        """Forget the batches of some partitions: they belong to another worker now, or are read again."""
        kept = [batch for batch in self._batches if batch.partition not in partitions]
        self._restart(kept, self._since_ms if kept else None)

    def _restart(self, batches: list[RecordBatch], since_ms: int | None) -> None:
        self._batches, self._since_ms = batches, since_ms
        self.rows, self.bytes = sum(map(len, batches)), sum(map(size_of, batches))
        self._next_offsets = {batch.partition: batch.next_offset for batch in batches}
