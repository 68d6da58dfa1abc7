"""Brokers that die, sleep, or whose answer does not arrive."""

import asyncio
import os
import signal

from pipeline.local.parts import Part
from tests.faults.broadcast import Broadcast
from tests.faults.fault import Fault
from tests.faults.proxy import Trap
from tests.faults.scene import Scene

SPRUNG_S = 15.0
GOES_ON_S = 60.0  # a broker that is dead is missed after 4 s, and its partitions then have other leaders
REFUSED_S = 60.0

PRODUCE, _FETCH = b"\x00\x00", b"\x00\x01"  # api keys of the protocol


async def _kill(scene: Scene) -> None:
    await scene.server(Part.KAFKA).kill()


async def _start(scene: Scene) -> None:
    await scene.server(Part.KAFKA).start()


async def _freeze(scene: Scene) -> None:
    os.kill(scene.server(Part.KAFKA).pid, signal.SIGSTOP)


async def _thaw(scene: Scene) -> None:
    os.kill(scene.server(Part.KAFKA).pid, signal.SIGCONT)


async def _cut_replies(scene: Scene) -> None:
    """Acknowledgements to the publisher first, then records to the workers."""
    for api, reply_bytes, times in ((PRODUCE, 10, 2), (_FETCH, 400, 3)):
        trap = Trap(lambda request, api=api: request[4:6] == api, reply_bytes=reply_bytes, times=times)  # type: ignore[misc]
        scene.proxy(Part.KAFKA).set(trap)
        async with asyncio.timeout(SPRUNG_S):
            await trap.sprung.wait()


async def _kill_two(scene: Scene) -> None:
    """Kill the leader of a partition, and when publishing goes on with another, a second broker."""
    cluster, broadcast = scene.notes["brokers"], scene.broadcast
    assert isinstance(broadcast, Broadcast)
    first = await cluster.leader(scene.found.topic, 0)
    second = next(number for number in cluster.brokers if number != first)
    await cluster.brokers[first].kill()
    acknowledged = broadcast.journal.acknowledged
    async with asyncio.timeout(GOES_ON_S):
        while broadcast.journal.acknowledged < acknowledged + 3:
            await asyncio.sleep(0.01)
    await cluster.brokers[second].kill()
    refused = len(broadcast.refusals)
    async with asyncio.timeout(REFUSED_S):
        while len(broadcast.refusals) == refused:
            await asyncio.sleep(0.1)


async def _start_all(scene: Scene) -> None:
    brokers = scene.notes["brokers"].brokers.values()
    await asyncio.gather(*(broker.start() for broker in brokers))


FAULTS = (
    Fault(name="Kafka: killed and started again", inject=_kill, lasts_s=1.0, heal=_start),
    Fault(name="Kafka: asleep for 3 s", inject=_freeze, lasts_s=3.0, heal=_thaw),
    Fault(name="Kafka: replies cut", through=frozenset({Part.KAFKA}), inject=_cut_replies),
    Fault(name="Kafka: two of three killed", cluster=True, inject=_kill_two, heal=_start_all, refuses=True),
)
