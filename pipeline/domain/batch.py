"""A run of the log: consecutive records of one partition, held in columns."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from pipeline.domain.strings import Strings, join_strings

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Records `first_offset`, `first_offset + 1`, ... of one partition, without holes. Columns are as long as the batch."""

    topic: str
    partition: int
    first_offset: int
    append_times: NDArray[np.int64]  # the broker's, ms since the epoch
    keys: Strings
    values: Strings
    headers: Sequence[Headers]

    @classmethod
    def of(  # noqa: PLR0913, PLR0917  # as many as a batch has
        cls,
        topic: str,
        partition: int,
        first_offset: int,
        append_times: Sequence[int],
        keys: Iterable[bytes | None],
        values: Iterable[bytes | None],
        headers: Sequence[Headers],
    ) -> "RecordBatch":
        """Make a batch of objects."""
        times = np.array(append_times, np.int64)
        return cls(topic, partition, first_offset, times, Strings.of(keys), Strings.of(values), headers)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def next_offset(self) -> int:
        """The offset after the last record."""
        return self.first_offset + len(self.values)

    def since(self, offset: int) -> "RecordBatch":
        """Cut off what lies before an offset."""
        return self if offset <= self.first_offset else self._cut(offset - self.first_offset, len(self))

    def until(self, offset: int) -> "RecordBatch":
        """Cut off what lies at an offset and behind it."""
        return self if offset >= self.next_offset else self._cut(0, max(0, offset - self.first_offset))

    def split(self, size: int) -> Iterator["RecordBatch"]:
        """Cut into batches of at most `size` records."""
        if len(self) <= size:
            yield self
            return
        for start in range(0, len(self), size):
            yield self._cut(start, start + size)

    def _cut(self, start: int, stop: int) -> "RecordBatch":
        return RecordBatch(
            self.topic,
            self.partition,
            self.first_offset + start,
            self.append_times[start:stop],
            self.keys[start:stop],
            self.values[start:stop],
            self.headers[start:stop],
        )


def join(batches: Sequence[RecordBatch]) -> RecordBatch:
    """Make one batch of consecutive ones."""
    first = batches[0]
    if len(batches) == 1:
        return first
    keys, values = join_strings([batch.keys for batch in batches], [batch.values for batch in batches])
    return RecordBatch(
        first.topic,
        first.partition,
        first.first_offset,
        np.concatenate([batch.append_times for batch in batches]),
        keys,
        values,
        list(chain.from_iterable(batch.headers for batch in batches)),
    )
