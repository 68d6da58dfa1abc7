"""A ClickHouse that dies, is away, forgets, is full, or whose answer does not arrive."""

import asyncio

from pipeline.local.parts import Part
from tests.faults import disk
from tests.faults.fault import Fault
from tests.faults.proxy import Trap
from tests.faults.scene import Scene

WINDOW = 5  # inserts that this trial's table remembers
SPRUNG_S = 15.0
LATE = 0.8  # of a show; from here on there may be only one more insert


def _is_insert(request: bytes) -> bool:
    return b"INSERT" in request


async def _kill_in_insert(scene: Scene) -> None:
    killed = asyncio.Event()

    async def kill() -> None:
        await asyncio.sleep(scene.chance.uniform(0, 0.04))
        await scene.server(Part.CLICKHOUSE).kill()
        killed.set()

    scene.proxy(Part.CLICKHOUSE).set(Trap(_is_insert, then=kill))
    async with asyncio.timeout(SPRUNG_S):
        await killed.wait()


async def _start(scene: Scene) -> None:
    await scene.server(Part.CLICKHOUSE).start()


async def _cut_replies(scene: Scene) -> None:
    trap = Trap(_is_insert, reply_bytes=9, times=2 if scene.place < LATE else 1)
    scene.proxy(Part.CLICKHOUSE).set(trap)
    async with asyncio.timeout(SPRUNG_S):
        await trap.sprung.wait()


async def _away(scene: Scene) -> None:
    """Lose an answer, then all connection; meanwhile others insert until the tokens are forgotten."""
    await scene.clickhouse(f"ALTER TABLE votes_log MODIFY SETTING non_replicated_deduplication_window = {WINDOW}")
    await _cut_replies(scene)
    await scene.proxy(Part.CLICKHOUSE).down()
    await scene.clickhouse(
        *(
            "INSERT INTO votes_log (topic, partition, offset, append_time) SETTINGS async_insert = 0 "
            f"VALUES ('elsewhere', 0, {offset}, now64(3))"
            for offset in range(2 * WINDOW)
        )
    )


async def _reachable(scene: Scene) -> None:
    await scene.proxy(Part.CLICKHOUSE).up()


async def _fill(scene: Scene) -> None:
    scene.notes["filler"] = await asyncio.to_thread(disk.fill, scene.folder / "disk")


async def _empty(scene: Scene) -> None:
    scene.notes["filler"].unlink()


async def _truncate(scene: Scene) -> None:
    await scene.clickhouse("TRUNCATE TABLE votes_log")


async def _lose_part(scene: Scene) -> None:
    """Take away what an insert has stored, but not what a later one has: as after a power cut."""
    async with asyncio.timeout(SPRUNG_S):
        while len(parts := await scene.clickhouse(_PARTS)) < 3:
            await asyncio.sleep(0.1)
    (name,) = parts[len(parts) // 2]
    await scene.clickhouse(f"ALTER TABLE votes_log DROP PART '{name}'")


_PARTS = (
    "SELECT name FROM system.parts WHERE database = currentDatabase() AND table = 'votes_log' AND active "
    "ORDER BY min_block_number"
)
_PROXIED = frozenset({Part.CLICKHOUSE})

FAULTS = (
    Fault(name="ClickHouse: killed in mid insert", through=_PROXIED, inject=_kill_in_insert, lasts_s=1.0, heal=_start),
    Fault(name="ClickHouse: replies cut", through=_PROXIED, inject=_cut_replies),
    Fault(name="ClickHouse: away past its window", through=_PROXIED, inject=_away, lasts_s=3.0, heal=_reachable),
    Fault(name="ClickHouse: disk full", small_disk=True, inject=_fill, lasts_s=3.0, heal=_empty),
    Fault(name="ClickHouse: emptied", inject=_truncate, overlap=True),
    Fault(name="ClickHouse: a part lost", inject=_lose_part, overlap=True),
)
