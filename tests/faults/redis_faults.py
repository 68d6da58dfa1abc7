"""A Redis that dies, forgets, goes back, is slow or full, or whose answer does not arrive."""

import asyncio

from pipeline.local.parts import Part
from tests.faults.fault import Fault
from tests.faults.proxy import Trap
from tests.faults.scene import Scene

PAUSE_S = 6.5  # longer than a client waits for an answer
LATENCY_S = 0.3
SPRUNG_S = 15.0


async def _kill(scene: Scene) -> None:
    await scene.server(Part.REDIS).kill()


async def _start(scene: Scene) -> None:
    await scene.server(Part.REDIS).start()


async def _save(scene: Scene) -> None:
    async with scene.redis() as client:
        await client.save()


async def _go_back(scene: Scene) -> None:
    await scene.server(Part.REDIS).kill()
    await scene.server(Part.REDIS).start()


async def _flush(scene: Scene) -> None:
    async with scene.redis() as client:
        await client.flushall()


async def _slow_down(scene: Scene) -> None:
    scene.proxy(Part.REDIS).latency_s = LATENCY_S


async def _speed_up(scene: Scene) -> None:
    scene.proxy(Part.REDIS).latency_s = 0.0


async def _pause(scene: Scene) -> None:
    async with scene.redis() as client:
        await client.client_pause(int(PAUSE_S * 1000))


async def _limit(scene: Scene) -> None:
    async with scene.redis() as client:
        used = (await client.info("memory"))["used_memory"]
        await client.config_set("maxmemory", int(used))


async def _unlimit(scene: Scene) -> None:
    async with scene.redis() as client:
        await client.config_set("maxmemory", 0)


async def _cut_replies(scene: Scene) -> None:
    trap = Trap(lambda request: b"EVALSHA" in request, reply_bytes=6, times=3)
    scene.proxy(Part.REDIS).set(trap)
    async with asyncio.timeout(SPRUNG_S):
        await trap.sprung.wait()


_PROXIED = frozenset({Part.REDIS})

FAULTS = (
    Fault(name="Redis: killed, all forgotten", inject=_kill, lasts_s=1.5, heal=_start),
    Fault(name="Redis: killed, append-only file", appendonly=True, inject=_kill, lasts_s=1.5, heal=_start),
    Fault(name="Redis: back to an older snapshot", inject=_save, lasts_s=1.0, heal=_go_back),
    Fault(name="Redis: flushed", inject=_flush),
    Fault(name="Redis: slow", through=_PROXIED, inject=_slow_down, lasts_s=3.0, heal=_speed_up),
    Fault(name="Redis: no answer for 6.5 s", inject=_pause, lasts_s=PAUSE_S),
    Fault(name="Redis: at its memory limit", inject=_limit, lasts_s=3.0, heal=_unlimit),
    Fault(name="Redis: replies cut", through=_PROXIED, inject=_cut_replies),
)
