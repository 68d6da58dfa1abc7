"""The log: records of some partitions, written by chance before the show and appended in it; and batches on their way."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from faust.types import TP

from pipeline.domain.batch import RecordBatch
from pipeline.log.app import AppLog
from tests.domain.logs import throw_log
from tests.domain.reference import Entry

from .wire import Wire

TOPIC = "votes"


class SimulatedLog:
    """What was appended so far, ``ends[partition]`` records of each partition. It never loses any."""

    def __init__(self, random: Random, partitions: int, records: int) -> None:
        self.written: list[Sequence[Entry]] = [throw_log(random, records - 1) for _ in range(partitions)]
        self.ends = [0] * partitions
        self.committed = [0] * partitions  # what Kafka remembers of the group: it decides nothing, but where to begin

    def append(self, partition: int, records: int) -> bool:
        """Append some records. False: all are appended."""
        before = self.ends[partition]
        self.ends[partition] = min(len(self.written[partition]), before + records)
        return self.ends[partition] > before

    def delivery(self, partition: int, start: int, stop: int) -> "Delivery":
        """Fetch some records."""
        return Delivery(self.batch(partition, start, stop), self)

    def batch(self, partition: int, start: int, stop: int) -> RecordBatch:
        """Read some records."""
        times, keys, values = zip(*self.written[partition][start:stop], strict=True)
        return RecordBatch.of(TOPIC, partition, start, times, keys, values, [()] * len(values))


class Delivery:
    """A fetched batch as a Faust event whose value it is."""

    def __init__(self, batch: RecordBatch, log: "SimulatedLog") -> None:
        self._batch, self._log = batch, log
        self.tp = TP(TOPIC, batch.partition)
        self.first_offset, self.next_offset = batch.first_offset, batch.next_offset

    @property
    def value(self) -> "Delivery":
        return self

    def read(self, *, with_headers: bool = True) -> RecordBatch:
        return self._batch if with_headers else replace(self._batch, headers=[()] * len(self._batch))

    def ack(self) -> None:
        self._log.committed[self.tp.partition] = self.next_offset


class LogOfWorker(AppLog):
    """The log as one worker reaches it: its consumer's positions, and offsets over the network."""

    def __init__(self, log: SimulatedLog, wire: Wire) -> None:
        self._simulated, self._wire = log, wire
        self.positions: dict[int, int] = {}

    async def seek(self, partition: int, offset: int) -> None:
        if partition in self.positions:
            self.positions[partition] = offset

    def committed(self, partition: int) -> int:
        """Give where Kafka lets a consumer begin that is told nothing else."""
        return self._simulated.committed[partition]

    def position(self, partition: int) -> int | None:
        return self.positions.get(partition)

    async def begin_offset(self, _partition: int) -> int:
        begin: int = await self._wire.call(lambda _: 0)
        return begin

    async def end_offset(self, partition: int, _done: int = 0) -> int:
        end: int = await self._wire.call(lambda _: self._simulated.ends[partition])
        return end

    async def end_offsets(self) -> Mapping[int, int]:
        return {partition: await self.end_offset(partition) for partition in range(len(self._simulated.ends))}
