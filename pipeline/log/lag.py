"""How far a service is behind the log: its gauges, and whether that keeps it from being ready."""

from collections.abc import Mapping
from typing import Protocol

from prometheus_client import Gauge

from pipeline.errors import UnavailableError
from pipeline.health import Health


class _Log(Protocol):
    async def end_offsets(self) -> Mapping[int, int]:
        """Give the offsets after the last records of all partitions."""


class Lag:
    """Compares where the log ends, as Kafka says now, with what a service has done of it.

    What the last fetch has said of the log's end would stand still with the fetches, and look as if nothing were left to do.

    Args:
        records: the gauge of the lag, by partition.
        next_offset: the gauge of what is next, by partition.
        most: records of all partitions together that a service may be behind and be ready.
    """

    def __init__(self, log: _Log, health: Health, records: Gauge, next_offset: Gauge, most: int) -> None:
        self._log, self._health, self._most = log, health, most
        self._records, self._next_offset = records, next_offset
        self._measured: set[int] = set()

    def unknown(self) -> None:
        """Note that other partitions are held than those that were measured: until the next time nobody knows how far."""
        self._health.set("lag", "not measured yet")

    async def measure(self, next_offsets: Mapping[int, int | None]) -> None:
        """Set the gauges of the partitions that are held now, take away those of others, and note what keeps from being ready.

        Args:
            next_offsets: of each partition that is held the offset that is next; None: it is not known now.
        """
        for partition in self._measured - set(next_offsets):
            self._records.remove(str(partition))
            self._next_offset.remove(str(partition))
        self._measured = set(next_offsets)
        known = {partition: offset for partition, offset in next_offsets.items() if offset is not None}
        for partition, offset in known.items():
            self._next_offset.labels(str(partition)).set(offset)
        try:
            ends = await self._log.end_offsets()  # of all: who has none of them is to notice, too, if the topic is gone
        except UnavailableError as error:
            self._health.set("kafka", str(error))
            return
        self._health.set("kafka", None)
        lags = {partition: max(0, ends[partition] - offset) for partition, offset in known.items()}
        for partition, lag in lags.items():
            self._records.labels(str(partition)).set(lag)
        if lost := sorted(set(next_offsets) - set(known)):
            self._health.set("lag", f"where to go on with partitions {lost} is being looked up")
        else:
            behind = sum(lags.values())
            self._health.set("lag", f"{behind} records behind" if behind > self._most else None)
