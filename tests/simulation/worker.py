"""A worker process: the real service without Faust, a consumer with positions, a loop and a network of its own."""

from collections.abc import Collection
from typing import Any, Protocol

from faust.types import TP

from pipeline.archive.app import Archive
from pipeline.archive.buffer import FlushPolicy
from pipeline.health import Health
from pipeline.settings import Settings
from pipeline.tally.app import Tally

from .clickhouse import SimulatedClickHouse
from .loop import SimulatedLoop
from .redis import SimulatedRedis
from .votes import TOPIC, Delivery, LogOfWorker, SimulatedLog
from .wire import Wire

PARTITIONS = 4  # two for each of an archive's archivers
SETTINGS = Settings(topic=TOPIC, partitions=PARTITIONS)
SMALL_FLUSHES = FlushPolicy(max_rows=12)  # as large as a few deliveries


class App:
    """What a service asks of its Faust app: to end when it must."""

    def __init__(self) -> None:
        self.crashes: list[Exception] = []

    async def crash(self, reason: Exception) -> None:
        self.crashes.append(reason)


class Service(Protocol):
    """What Faust calls of ``Tally`` and ``Archive``."""

    async def assigned(self, partitions: Collection[TP]) -> None: ...

    async def revoked(self, partitions: Collection[TP]) -> None: ...

    async def positions(self, partitions: Collection[TP]) -> Any: ...


class Worker:
    """One process. Frozen it does nothing, and does not know it afterwards."""

    def __init__(self, name: str, log: SimulatedLog) -> None:
        self.name = name
        self.loop, self.wire, self.app = SimulatedLoop(), Wire(), App()
        self.log = LogOfWorker(log, self.wire)
        self.alive = True
        self.frozen = False
        self.slept_s = 0.0
        self.service: Service

    @property
    def runs(self) -> bool:
        return self.alive and not self.frozen

    @property
    def held(self) -> list[int]:
        """The partitions that it believes to have, rightly or not."""
        return sorted(self.log.positions)

    def take(self, delivery: Delivery) -> None:
        """Hand a batch to the service, as its agent does."""
        raise NotImplementedError

    def assign(self, partitions: Collection[int]) -> None:
        """Tell it that it has some more partitions."""
        self.log.positions.update({partition: self.log.committed(partition) for partition in partitions})
        self.loop.spawn(self._assigned({TP(TOPIC, partition) for partition in self.held}))

    def revoke(self, partitions: Collection[int]) -> None:
        """Tell it that some partitions are no longer its own."""
        for partition in partitions:
            self.log.positions.pop(partition, None)
        self.loop.spawn(self.service.revoked({TP(TOPIC, partition) for partition in partitions}))

    def live(self, seconds: float) -> None:
        """Let time pass in it. What a frozen one misses, it makes up for in an instant when it wakes."""
        if self.runs:
            self.loop.advance(seconds)
        else:
            self.slept_s += seconds

    def wake(self) -> None:
        """Go on after having been frozen."""
        self.frozen = False
        self.loop.advance(self.slept_s)
        self.slept_s = 0.0

    def kill(self) -> None:
        """End it as kill -9 does."""
        self.alive = False
        self.loop.kill()

    async def _assigned(self, partitions: Collection[TP]) -> None:
        await self.service.assigned(partitions)
        for tp, position in (await self.service.positions(partitions)).items():
            await self.log.seek(tp.partition, position)


class TallyWorker(Worker):
    """A worker of the tally."""

    def __init__(self, name: str, log: SimulatedLog, redis: SimulatedRedis) -> None:
        super().__init__(name, log)
        app: Any = self.app
        self.tally = Tally(app, self.log, redis.over(self.wire), Health("tally"), SETTINGS)
        self.service = self.tally

    def take(self, delivery: Delivery) -> None:
        self.loop.within(lambda: self.tally.folder(delivery.tp.partition).add(delivery))


class ArchiveWorker(Worker):
    """A worker of the archive."""

    def __init__(self, name: str, log: SimulatedLog, clickhouse: SimulatedClickHouse) -> None:
        super().__init__(name, log)
        app: Any = self.app
        health, store = Health("archive"), clickhouse.over(self.wire, name)
        self.archive = Archive(app, SETTINGS, store, self.log, health, SMALL_FLUSHES)
        self.service = self.archive

    def take(self, delivery: Delivery) -> None:
        self.loop.within(self.archive.add, delivery)
