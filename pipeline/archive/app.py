"""The archive as a Faust app: an agent that hands all batches to one archiver."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import structlog
from faust.types import TP

from pipeline import metrics
from pipeline.archive.archiver import Archiver
from pipeline.errors import UnavailableError
from pipeline.health import Health
from pipeline.log.app import AppLog, on_partitions
from pipeline.log.transport import BatchApp, BatchSchema
from pipeline.settings import Settings
from pipeline.waiting import end

POSITIONS_WAIT_S = 10.0  # an assignment does not wait longer for ClickHouse: the archiver asks again anyway
READY_LAG_RECORDS = 1_000_000

log = structlog.get_logger(__name__)


class Archive:
    """The archiver's life in a Faust worker."""

    def __init__(self, app: BatchApp, source: AppLog, archiver: Archiver, health: Health) -> None:
        self._app, self._log, self._archiver, self._health = app, source, archiver, health
        self._task: asyncio.Task[None] | None = None

    def add(self, event: Any) -> None:
        """Take a batch."""
        self._begin()
        self._archiver.add(event)

    async def assigned(self, partitions: Collection[TP]) -> None:
        """Begin anew with the partitions that were assigned."""
        self._begin()
        self._archiver.hold({tp.partition for tp in partitions})
        log.info("partitions assigned", partitions=sorted(tp.partition for tp in partitions))
        self._health.set("start", None)
        self._health.set("partitions", None)

    async def revoked(self, partitions: Collection[TP]) -> None:
        """Let go of partitions."""
        self._health.set("partitions", "a rebalance is under way")
        try:
            async with asyncio.timeout(POSITIONS_WAIT_S / 2):
                await self._archiver.forget({tp.partition for tp in partitions})
        except TimeoutError:
            log.warning("a flush is still on its way; what another worker stores meanwhile is one row to readers")

    async def positions(self, partitions: Collection[TP]) -> Mapping[TP, int]:
        """Say where to read on: where ClickHouse ends."""
        try:
            async with asyncio.timeout(POSITIONS_WAIT_S):
                await self._archiver.forget({tp.partition for tp in partitions})
                stored = await self._archiver.stored([tp.partition for tp in partitions])
                return {tp: stored[tp.partition] for tp in partitions}
        except (UnavailableError, TimeoutError) as error:
            log.warning("positions unknown", error=str(error))
            return {}

    def measure(self) -> None:
        """Set the gauges, and note a lag."""
        total = 0
        for partition, next_offset in self._archiver.next_offsets.items():
            end = self._log.highwater(partition)
            if end is not None:
                lag = max(0, end - next_offset)
                total += lag
                metrics.ARCHIVE_LAG.labels(str(partition)).set(lag)
        metrics.HELD_BYTES.set(self._app.consumer.backlog.held_bytes)
        self._health.set("lag", f"{total} records behind" if total > READY_LAG_RECORDS else None)

    async def close(self) -> None:
        """Stop, with what was collected stored if that goes quickly."""
        if self._task is not None:
            await end([self._task])
        await self._archiver.close()

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._guard(), name="archive")

    async def _guard(self) -> None:
        """Let an error that no retry mends stop the worker."""
        try:
            await self._archiver.run()
        except Exception as error:
            log.exception("the worker stops", error=str(error))
            await self._app.crash(error)
            raise


def build(app: BatchApp, settings: Settings, archive: Archive) -> None:
    """Give an app its agent and its hooks."""
    app.positions = archive.positions
    # Flushes are on their way while the next one is collected: with less, fetching would pause for them.
    app.backlog_bytes *= 2
    on_partitions(app, archive.assigned, archive.revoked)

    @app.agent(app.topic(settings.topic, schema=BatchSchema()), name="archive")
    async def store(stream: Any) -> None:
        async for event in stream.noack().events():
            archive.add(event)
