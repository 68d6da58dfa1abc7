"""The archive as a Faust app: an agent that hands each batch to the archiver of its partition."""

import asyncio
from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import structlog
from faust.types import TP

from pipeline import metrics
from pipeline.archive.archiver import Archiver
from pipeline.archive.buffer import FlushPolicy
from pipeline.archive.store import ArchiveStore
from pipeline.errors import UnavailableError
from pipeline.health import Health
from pipeline.log.app import AppLog, on_partitions
from pipeline.log.lag import Lag
from pipeline.log.transport import BatchApp, BatchSchema
from pipeline.settings import Settings
from pipeline.waiting import end

POSITIONS_WAIT_S = 10.0  # an assignment does not wait longer for ClickHouse: the archiver asks again anyway
READY_LAG_RECORDS = 1_000_000

log = structlog.get_logger(__name__)


class Archive:
    """The archivers' life in a Faust worker.

    There are two, each with a share of the partitions: while ClickHouse takes the flush of the one, the other's is made and
    sent. Each partition's flushes stay in order, so ClickHouse holds a prefix of its log at any time.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # what archivers work with
        self,
        app: BatchApp,
        settings: Settings,
        store: ArchiveStore,
        source: AppLog,
        health: Health,
        policy: FlushPolicy,
    ) -> None:
        self._app, self._log, self._health = app, source, health
        self._partitions = settings.partitions
        self._archivers = [Archiver(settings.topic, store, source, health, policy) for _ in range(2)]
        self._tasks: list[asyncio.Task[None]] = []
        self._lag = Lag(source, health, metrics.ARCHIVE_LAG, metrics.ARCHIVE_NEXT_OFFSET, READY_LAG_RECORDS)

    def add(self, event: Any) -> None:
        """Take a batch."""
        self._begin()
        self._archivers[self._share_of(event.value.tp.partition)].add(event)

    async def assigned(self, partitions: Collection[TP]) -> None:
        """Begin anew with the partitions that were assigned."""
        self._begin()
        for archiver, share in self._shares(partitions):
            archiver.hold(share)
        log.info("partitions assigned", partitions=sorted(tp.partition for tp in partitions))
        self._lag.unknown()
        self._health.set("start", None)
        self._health.set("partitions", None)

    async def revoked(self, partitions: Collection[TP]) -> None:
        """Let go of partitions."""
        self._health.set("partitions", "a rebalance is under way")
        for archiver, share in self._shares(partitions):
            archiver.release(share)
        try:
            async with asyncio.timeout(POSITIONS_WAIT_S / 2):
                await self._forget(partitions)
        except TimeoutError:
            log.warning("a flush is still on its way; what another worker stores meanwhile is one row to readers")

    async def positions(self, partitions: Collection[TP]) -> Mapping[TP, int]:
        """Say where to read on: where ClickHouse ends."""
        try:
            async with asyncio.timeout(POSITIONS_WAIT_S):
                await self._forget(partitions)
                stored = await self._archivers[0].stored([tp.partition for tp in partitions])
                return {tp: stored[tp.partition] for tp in partitions}
        except (UnavailableError, TimeoutError) as error:
            log.warning("positions unknown", error=str(error))
            return {}

    async def measure(self) -> None:
        """Set the gauges, and note a lag."""
        metrics.HELD_BYTES.set(self._app.consumer.backlog.held_bytes)
        next_offsets = ChainMap(*(archiver.next_offsets for archiver in self._archivers))
        await self._lag.measure(next_offsets)

    async def close(self) -> None:
        """Stop, with what was collected stored if that goes quickly."""
        await end(self._tasks)
        await asyncio.gather(*(archiver.close() for archiver in self._archivers))

    def _share_of(self, partition: int) -> int:
        """Give the archiver of a partition, one for each half of them: Faust deals them out in turn, so a worker has both."""
        return int(2 * partition >= self._partitions)

    def _shares(self, partitions: Collection[TP]) -> Iterator[tuple[Archiver, set[int]]]:
        """Give each archiver, and which of some partitions it has."""
        for share, archiver in enumerate(self._archivers):
            yield archiver, {tp.partition for tp in partitions if self._share_of(tp.partition) == share}

    async def _forget(self, partitions: Collection[TP]) -> None:
        await asyncio.gather(*(archiver.forget(share) for archiver, share in self._shares(partitions)))

    def _begin(self) -> None:
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._guard(each), name="archive") for each in self._archivers]

    async def _guard(self, archiver: Archiver) -> None:
        """Let an error that no retry mends stop the worker."""
        try:
            await archiver.run()
        except Exception as error:
            log.exception("the worker stops", error=str(error))
            for task in self._tasks:
                if task is not asyncio.current_task():
                    task.cancel()
            await self._app.crash(error)
            raise


def build(app: BatchApp, settings: Settings, archive: Archive) -> None:
    """Give an app its agent and its hooks."""
    app.positions = archive.positions
    # Two flushes are on their way while the next ones are collected: with less, fetching would pause for them.
    app.backlog_bytes *= 2
    # Small enough for a core's cache, and so copied sooner. The tally, whose chunks are of a partition, does better with more.
    app.response_bytes = 4 << 20
    on_partitions(app, settings, archive.assigned, archive.revoked)

    @app.agent(app.topic(settings.topic, schema=BatchSchema()), name="archive")
    async def store(stream: Any) -> None:
        async for event in stream.noack().events():
            archive.add(event)
