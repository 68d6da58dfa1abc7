"""The tally as a Faust app: an agent that hands each partition's batches to its folder."""

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from typing import Any

import structlog
from faust.types import TP

from pipeline import metrics
from pipeline.domain.fold import PartitionState
from pipeline.errors import UnavailableError
from pipeline.health import Health
from pipeline.ledger.ledger import Ledger
from pipeline.log.app import AppLog, make_app, on_partitions
from pipeline.log.lag import Lag
from pipeline.log.offsets import LogOffsets
from pipeline.log.transport import BatchApp, BatchSchema
from pipeline.settings import Settings
from pipeline.tally.folder import PartitionFolder
from pipeline.waiting import end

POSITIONS_WAIT_S = 5.0  # an assignment does not wait longer for Redis: the ledger corrects any position anyway
RESPONSE_BYTES = 8 << 20  # of a broker, of all partitions: with twice that a backlog is read 5 % faster, in 45 MB more
READY_LAG_RECORDS = 100_000  # two seconds of the record minute: more than this is not "caught up"

log = structlog.get_logger(__name__)


class Tally:
    """The folders of the partitions that this worker has, each with its task."""

    def __init__(self, app: BatchApp, log: AppLog, ledger: Ledger, health: Health, settings: Settings) -> None:
        self._app, self._log, self._ledger, self._health, self._settings = app, log, ledger, health, settings
        self._folders: dict[int, PartitionFolder] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._kept: dict[int, PartitionState] = {}  # of partitions that were revoked, until they are assigned anew
        self._lag = Lag(log, health, metrics.LAG, metrics.NEXT_OFFSET, READY_LAG_RECORDS)

    def folder(self, partition: int) -> PartitionFolder:
        """Give the folder of a partition, begun if it is new here."""
        if partition not in self._folders:
            folder = PartitionFolder(
                partition,
                self._ledger,
                self._log,
                self._health,
                accept_truncated=self._settings.accept_truncated_log,
                kept=self._kept.pop(partition, None),
            )
            self._folders[partition] = folder
            self._tasks[partition] = asyncio.create_task(self._guard(folder.run()), name=f"fold-{partition}")
        return self._folders[partition]

    async def assigned(self, partitions: Collection[TP]) -> None:
        """Begin with all partitions that were assigned, and let go of the others."""
        mine = {tp.partition for tp in partitions if tp.topic == self._settings.topic}
        await self.dropped(set(self._folders) - mine)
        for partition in sorted(mine):
            self.folder(partition)
        self._kept.clear()  # what is left is somebody else's now
        log.info("partitions assigned", partitions=sorted(mine))
        self._lag.unknown()
        self._health.set("start", None)
        self._health.set("partitions", None)

    async def revoked(self, partitions: Collection[TP]) -> None:
        """Let go of partitions. What is half done there is done again by whoever gets them."""
        await self.dropped({tp.partition for tp in partitions})
        self._health.set("partitions", "a rebalance is under way")

    async def dropped(self, partitions: Collection[int]) -> None:
        """Stop folding some partitions."""
        tasks = [self._tasks.pop(partition) for partition in partitions if partition in self._tasks]
        folders = [self._folders.pop(partition) for partition in partitions if partition in self._folders]
        await end(tasks)
        for folder in folders:
            if (state := folder.forget()) is not None:
                self._kept[folder.partition] = state

    async def positions(self, partitions: Collection[TP]) -> Mapping[TP, int]:
        """Say where to read on: where the ledgers end."""
        found: dict[TP, int] = {}
        try:
            async with asyncio.timeout(POSITIONS_WAIT_S):
                for tp in partitions:
                    next_offset = await self._ledger.next_offset(tp.partition)
                    found[tp] = 0 if next_offset is None else next_offset
        except (UnavailableError, TimeoutError) as error:
            log.warning("positions unknown", error=str(error))
        return found

    async def measure(self) -> None:
        """Set the gauges, and note a lag that keeps the air behind."""
        metrics.HELD_BYTES.set(self._app.consumer.backlog.held_bytes)
        memories = [memory for folder in self._folders.values() for memory in folder.memories]
        metrics.MEMORY_BYTES.set(sum(memory.nbytes for memory in memories))
        metrics.FILED_BYTES.set(sum(memory.filed_bytes for memory in memories))
        await self._lag.measure({partition: folder.next_offset for partition, folder in self._folders.items()})

    async def close(self) -> None:
        """Stop folding."""
        await self.dropped(list(self._folders))

    async def _guard(self, run: Coroutine[Any, Any, None]) -> None:
        """Let an error that no retry mends stop the worker: a partition that stands still in silence would be worse."""
        try:
            await run
        except Exception as error:
            log.exception("the worker stops", error=str(error))
            await self._app.crash(error)
            raise


def build(settings: Settings, offsets: LogOffsets, ledger: Ledger, health: Health) -> tuple[BatchApp, Tally]:
    """Make the app of one tally worker."""
    app = make_app(settings, "tally")
    app.response_bytes = RESPONSE_BYTES
    tally = Tally(app, AppLog(app, settings.topic, offsets), ledger, health, settings)
    app.positions = tally.positions
    on_partitions(app, settings, tally.assigned, tally.revoked)

    @app.agent(app.topic(settings.topic, schema=BatchSchema()), name="tally")
    async def fold(stream: Any) -> None:
        async for event in stream.noack().events():
            tally.folder(event.message.partition).add(event)

    return app, tally
