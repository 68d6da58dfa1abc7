"""A flush: whole runs of the log that go to ClickHouse as one insert, all or nothing. Frozen: a retry sends the same."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from pipeline.domain.batch import RecordBatch


class OffsetRange(NamedTuple):
    """Records `first_offset` to `next_offset` (exclusive) of a partition, with the append times at both ends."""

    partition: int
    first_offset: int
    next_offset: int
    first_append_ms: int
    last_append_ms: int


@dataclass(frozen=True)
class Flush:
    """Batches in order of partition and offset, each partition's without holes between them.

    Raises:
        ValueError: no batch, an empty one, two topics, or batches of a partition that do not follow each other.
    """

    batches: tuple[RecordBatch, ...]

    def __init__(self, batches: Iterable[RecordBatch]) -> None:
        ordered = tuple(sorted(batches, key=lambda batch: (batch.partition, batch.first_offset)))
        if not ordered or not all(ordered):
            raise ValueError("a flush needs batches, and none of them empty")
        if len({batch.topic for batch in ordered}) > 1:
            raise ValueError("a flush is of one topic")
        for before, after in pairwise(ordered):
            if before.partition == after.partition and before.next_offset != after.first_offset:
                raise ValueError(
                    f"partition {after.partition}: {after.first_offset} does not follow {before.next_offset}"
                )
        object.__setattr__(self, "batches", ordered)

    @property
    def topic(self) -> str:
        """The topic of all batches."""
        return self.batches[0].topic

    @cached_property
    def rows(self) -> int:
        """Records in it."""
        return sum(map(len, self.batches))

    @cached_property
    def bytes(self) -> int:
        """Bytes of keys and values in it."""
        return sum(map(size_of, self.batches))

    @cached_property
    def oldest_append_ms(self) -> int:
        """The earliest append time in it, ms since the epoch."""
        return min(int(batch.append_times.min()) for batch in self.batches)

    @cached_property
    def ranges(self) -> tuple[OffsetRange, ...]:
        """One range for each partition, in order."""
        ends: dict[int, tuple[RecordBatch, RecordBatch]] = {}
        for batch in self.batches:
            first, _ = ends.get(batch.partition, (batch, batch))
            ends[batch.partition] = first, batch
        return tuple(
            OffsetRange(
                partition, first.first_offset, last.next_offset, int(first.append_times[0]), int(last.append_times[-1])
            )
            for partition, (first, last) in ends.items()
        )

    @property
    def next_offsets(self) -> dict[int, int]:
        """For each partition in it, the offset after its last record."""
        return {run.partition: run.next_offset for run in self.ranges}

    @cached_property
    def token(self) -> str:
        """What is in it, as a text: equal for equal flushes, different for different ones.

        ``<topic>:<rows>:<sha256>``, the digest (hex) of a line ``<partition> <first> <next> <first append> <last append>``
        for each range. The append times tell apart a topic that was made anew with the same name and offsets.
        """
        lines = "".join(" ".join(map(str, run)) + "\n" for run in self.ranges)
        return f"{self.topic}:{self.rows}:{hashlib.sha256(lines.encode()).hexdigest()}"


def size_of(batch: RecordBatch) -> int:
    """Bytes of keys and values in a batch."""
    return batch.keys.nbytes + batch.values.nbytes
