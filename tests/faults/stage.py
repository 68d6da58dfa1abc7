"""Sets the scene of a trial: a topic, tables, an empty Redis, a show, workers that are ready. Clears it afterwards."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from pipeline.archive.migrate import migrate
from pipeline.errors import AirtallyError
from pipeline.local.parts import Part
from pipeline.log.connection import client_options
from pipeline.log.publisher import Publisher
from pipeline.log.topics import open_topics
from pipeline.settings import Settings
from tests.faults import cluster, disk
from tests.faults.audience import EdgeBroadcast
from tests.faults.broadcast import Broadcast
from tests.faults.fault import Fault
from tests.faults.publisher import ChildBroadcast, script_of
from tests.faults.scene import Scene
from tests.faults.servers import Servers

RECORDS = 12_000
PARTITIONS = 6
ACKNOWLEDGED_WITHIN_S = 8.0  # shorter than usual: a broker that is started again takes as long

_numbers = count(1)


@asynccontextmanager
async def set_scene(
    servers: Servers, fault: Fault, place: float, seed: int, controls: dict[str, tuple[str, ...]]
) -> AsyncIterator[Scene]:
    """Set the scene: topic, database, an empty Redis, workers that are ready."""
    number = next(_numbers)
    folder = servers.folder / f"trial-{number}"
    folder.mkdir()
    async with AsyncExitStack() as stack:
        await servers.restore()
        await servers.renew_redis(appendonly=fault.appendonly)
        if fault.small_disk:
            await stack.enter_async_context(disk.small(servers, folder / "disk"))
        found = _settings(servers, number, folder)
        if fault.cluster:
            brokers = await stack.enter_async_context(cluster.running(folder / "cluster"))
            found = found.model_copy(update={"kafka": brokers.address, "replication": 3, "min_insync": 2})
        through = _through(servers, found, fault.through)
        await _prepare(found, stack)
        publisher_found = through if Part.KAFKA in fault.through else found
        broadcast: Broadcast | ChildBroadcast | EdgeBroadcast
        script = script_of(seed, RECORDS)
        if fault.child:
            broadcast = ChildBroadcast(script, seed, publisher_found, folder)
        else:
            publisher = await stack.enter_async_context(
                Publisher(publisher_found, acknowledged_within_s=ACKNOWLEDGED_WITHIN_S)
            )
            broadcast = (
                EdgeBroadcast(script, seed, publisher)
                if fault.edge
                else Broadcast(replace(script, repeat_within_s=2), seed, publisher)
            )
        scene = Scene(
            servers, found, through, folder, broadcast, controls, random.Random(f"{fault.name}/{place}/{seed}"), place
        )
        if fault.cluster:
            scene.notes["brokers"] = brokers
        stack.push_async_callback(_stop, scene)
        wanted = ["tally"] * fault.tally + ["archive"] * fault.archive + ["edge"] * fault.edge
        names = [f"worker-{index}" if fault.static else None for index in range(len(wanted))]
        await asyncio.gather(*(scene.start(service, name=name) for service, name in zip(wanted, names, strict=True)))
        yield scene


def _settings(servers: Servers, number: int, folder: Path) -> Settings:
    return Settings(
        kafka=servers.address(Part.KAFKA, proxied=False),
        redis_url=servers.address(Part.REDIS, proxied=False),
        clickhouse_url=servers.address(Part.CLICKHOUSE, proxied=False),
        clickhouse_database=f"trial_{number}",
        topic=f"votes-{number}",
        partitions=PARTITIONS,
        home=folder,
    )


def _through(servers: Servers, found: Settings, parts: frozenset[Part]) -> Settings:
    names = {Part.KAFKA: "kafka", Part.REDIS: "redis_url", Part.CLICKHOUSE: "clickhouse_url"}
    return found.model_copy(update={names[part]: servers.address(part, proxied=True) for part in parts})


async def _prepare(found: Settings, stack: AsyncExitStack) -> None:
    """Make topic and tables. ClickHouse merges nothing, so that a row that was stored twice is seen."""
    async with open_topics(found) as topics:
        await topics.create()
    stack.push_async_callback(_tidy, found)
    await asyncio.to_thread(migrate, found)
    await disk.query(
        found,
        "ALTER TABLE votes_log MODIFY SETTING "
        "max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1",
    )


async def _tidy(found: Settings) -> None:
    """Drop topic and tables, for the sake of room only: what cannot be dropped, since a server is down, may stay."""
    with suppress(AirtallyError, KafkaError, TimeoutError):
        await disk.query(found, f"DROP DATABASE IF EXISTS {found.clickhouse_database}")
        admin = AIOKafkaAdminClient(**client_options(found), request_timeout_ms=10_000)
        try:
            await admin.start()
            await admin.delete_topics([found.topic])
        finally:
            await admin.close()


async def _stop(scene: Scene) -> None:
    await asyncio.gather(*(worker.kill() for worker in scene.workers))
