"""What goes wrong at the edge itself, while viewers vote: it dies, is replaced, or has no Kafka."""

import asyncio
import time

import psutil

from pipeline.local.parts import Part
from tests.faults.audience import EDGE, TIMEOUT_S, EdgeBroadcast
from tests.faults.fault import Fault
from tests.faults.kafka_faults import PRODUCE
from tests.faults.proxy import Trap
from tests.faults.scene import Scene
from tests.faults.verdict import WrongError
from tests.faults.workers import Worker

LATENCY_S = 0.05  # of Kafka's replies before a kill: some votes are under way at any moment
SPRUNG_S = 15.0
SHED_S = 15.0
SPARE_S = 10.0  # to end, besides the time to drain
MOST_GROWTH = 64 << 20  # bytes, of an edge whose votes go nowhere


def _edge(scene: Scene) -> Worker:
    """Give the edge that serves.

    Raises:
        WrongError: it has ended by itself.
    """
    living = scene.of("edge")
    if not living:
        raise WrongError(f"the edge ended: {scene.workers[-1].log_tail()}")
    return living[0]


async def _kill(scene: Scene) -> None:
    """Kill the edge when Kafka has a request of its, and viewers have no answer yet."""
    killed = asyncio.Event()
    edge = _edge(scene)

    async def kill() -> None:
        await asyncio.sleep(scene.chance.uniform(0, 0.8 * LATENCY_S))  # before the edge knows
        await edge.kill()
        killed.set()

    proxy = scene.proxy(Part.KAFKA)
    proxy.latency_s = LATENCY_S
    await asyncio.sleep(2 * LATENCY_S)
    proxy.set(Trap(lambda request: request[4:6] == PRODUCE, then=kill))
    async with asyncio.timeout(SPRUNG_S):
        await killed.wait()
    proxy.latency_s = 0.0


async def _start(scene: Scene) -> None:
    await scene.start("edge")


async def _replace(scene: Scene) -> None:
    """Deploy: start another edge on the same port, and tell the first to stop.

    Raises:
        WrongError: it does not end, in bounded time, with status 0.
    """
    edge = _edge(scene)
    await scene.start("edge")
    within_s = float(EDGE["AIRTALLY_EDGE_DRAIN_S"]) + SPARE_S
    status = await edge.drain(within_s)
    if status is None:
        raise WrongError(f"an edge that was told to stop still runs after {within_s:.0f} s")
    if status or "Traceback" in edge.child.launch.log_file.read_text():
        raise WrongError(f"an edge that was told to stop ended with status {status}: {edge.log_tail()}")


async def _take_kafka_away(scene: Scene) -> None:
    """Kill Kafka, and wait until the edge tells viewers when to come again.

    Raises:
        WrongError: it does not, or not when.
    """
    edge = _edge(scene)
    assert isinstance(scene.broadcast, EdgeBroadcast)
    scene.notes["unanswered"] = scene.broadcast.diary.answers["no answer"]
    scene.notes["bytes"] = psutil.Process(edge.child.identity.pid).memory_info().rss
    await scene.server(Part.KAFKA).kill()
    deadline = time.monotonic() + SHED_S
    while (answer := await scene.broadcast.ask())[0] != 503:
        if time.monotonic() > deadline:
            raise WrongError(f"an edge without Kafka answers {answer[0]}")
    if not answer[1].isdigit():
        raise WrongError(f"an edge without Kafka says Retry-After: {answer[1]!r}")


async def _bring_kafka_back(scene: Scene) -> None:
    """Start Kafka again.

    Raises:
        WrongError: the edge has kept viewers waiting meanwhile, or collected what it could not get rid of.
    """
    edge = _edge(scene)
    assert isinstance(scene.broadcast, EdgeBroadcast)
    unanswered = scene.broadcast.diary.answers["no answer"] - scene.notes["unanswered"]
    grown = psutil.Process(edge.child.identity.pid).memory_info().rss - scene.notes["bytes"]
    await scene.server(Part.KAFKA).start()
    if unanswered:
        raise WrongError(f"{unanswered} viewers had no answer within {TIMEOUT_S:.0f} s, though nobody cut a connection")
    if grown > MOST_GROWTH:
        raise WrongError(f"the edge has grown by {grown >> 20} MB without Kafka")


FAULTS = (
    Fault(
        name="edge: killed in mid request",
        edge=True,
        through=frozenset({Part.KAFKA}),
        inject=_kill,
        lasts_s=1.0,
        heal=_start,
    ),
    Fault(name="edge: drained under load", edge=True, inject=_replace),
    Fault(
        name="edge: Kafka away for 10 s",
        edge=True,
        inject=_take_kafka_away,
        lasts_s=10.0,
        heal=_bring_kafka_back,
        refuses=True,
    ),
)
