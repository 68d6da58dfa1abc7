"""One trial: a seeded show on real servers with real workers, one fault at one place of it, and what came of it."""

import asyncio
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.local.parts import Part
from pipeline.log.offsets import LogOffsets
from tests.faults.checks import Finding, Views, check_archive, check_ledgers
from tests.faults.fault import Fault
from tests.faults.oracle import read_log
from tests.faults.scene import Scene
from tests.faults.servers import Servers
from tests.faults.stage import set_scene
from tests.faults.verdict import Verdict, WrongError

CATCH_UP_S = 60.0
READY_S = 20.0
SHOW_S = 150.0
LOOK_S = 0.05


@dataclass
class Trial:
    """A fault at a place of a show, and what was found afterwards."""

    fault: str
    place: float
    seed: int
    verdict: Verdict = Verdict.NONE
    records: int = 0
    sent_again: int = 0  # copies in the log, of what nobody had acknowledged
    lost: int = 0
    twice: int = 0
    stored_twice: int = 0
    caught_up_s: float | None = None  # from the end of the fault until both views have what was in the log then
    ready: bool = False  # every worker again, by itself
    lines: list[str] = field(default_factory=list)


async def run_trial(
    servers: Servers, fault: Fault, place: float, seed: int, controls: Mapping[str, tuple[str, ...]] | None = None
) -> Trial:
    """Run a trial. It never raises: trouble of the harness is its verdict `NONE`."""
    trial = Trial(fault.name, place, seed)
    try:
        async with asyncio.timeout(2 * SHOW_S), set_scene(servers, fault, place, seed, dict(controls or {})) as scene:
            await _play(scene, fault, trial)
    except WrongError as wrong:
        trial.verdict = Verdict.FAIL
        trial.lines.append(str(wrong))
    except Exception as error:  # noqa: BLE001  # whatever it is, it is no verdict
        trial.lines.append(f"{type(error).__name__} {_where(error)}: {error}")
    return trial


def _where(error: Exception) -> str:
    """Say where in this folder an error came from: a timeout has nothing else to tell."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).parent == Path(__file__).parent]
    return ", ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in ours[-2:])


async def _play(scene: Scene, fault: Fault, trial: Trial) -> None:
    broadcast = scene.broadcast
    views = Views(scene.found)
    await fault.prepare(scene)
    playing = asyncio.create_task(broadcast.play())
    try:
        at = trial.place + scene.chance.uniform(-0.03, 0.03)
        while broadcast.progress < at and not playing.done():
            await asyncio.sleep(LOOK_S)
        await fault.inject(scene)
        await asyncio.sleep(fault.lasts_s)
        await fault.heal(scene)
        healed = time.monotonic()
        await _caught_up(scene, views)
        trial.caught_up_s = time.monotonic() - healed
        async with asyncio.timeout(SHOW_S):
            await playing
        await _caught_up(scene, views)
        await _ready(scene)
        trial.ready = True
        await _judge(scene, fault, trial)
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        await views.close()


async def _caught_up(scene: Scene, views: Views) -> None:
    """Wait until both views have what is in the log now.

    Raises:
        WrongError: they have not within a bounded time, although all servers answer.
    """
    async with LogOffsets(scene.found) as offsets:
        ends = await offsets.end()
    deadline = time.monotonic() + CATCH_UP_S
    while not await views.have(ends):
        _no_worker_ended(scene)
        if time.monotonic() > deadline:
            for part in (Part.REDIS, Part.CLICKHOUSE):
                if not await scene.server(part).answers():
                    raise RuntimeError(f"{part} does not answer, though nothing is done to it any more")
            raise WrongError(f"not caught up within {CATCH_UP_S:.0f} s: log at {ends}, {await views.progress()}")
        await asyncio.sleep(LOOK_S)


async def _ready(scene: Scene) -> None:
    """Wait until every worker says that it is ready.

    Raises:
        WrongError: one does not within a bounded time.
    """
    deadline = time.monotonic() + READY_S
    for worker in scene.workers:
        while worker.alive and not await worker.is_ready():
            if time.monotonic() > deadline:
                raise WrongError(f"{worker.service} is not ready {READY_S:.0f} s after it had everything")
            await asyncio.sleep(LOOK_S)
    _no_worker_ended(scene)


def _no_worker_ended(scene: Scene) -> None:
    for worker in scene.workers:
        if not worker.alive and not worker.killed:
            raise WrongError(f"a {worker.service} worker ended: {worker.log_tail()}")


async def _judge(scene: Scene, fault: Fault, trial: Trial) -> None:
    broadcast, found = scene.broadcast, scene.found
    true = broadcast.truth(await read_log(found))
    finding = Finding()
    await check_ledgers(found, true.expected, finding)
    await check_archive(found, true.expected, finding)
    trial.records, trial.sent_again = true.expected.records, true.copies
    trial.lost, trial.twice = finding.lost + true.lost_by_log, finding.twice
    trial.stored_twice = finding.stored_twice
    trial.lines += finding.lines + true.lines
    if true.lost_by_log:
        trial.lines.append(f"Kafka: {true.lost_by_log} records were acknowledged and are not in the log")
    if true.unknown:
        trial.lines.append(f"Kafka: {true.unknown} records are in the log that nobody planned")
    if finding.stored_twice and not fault.overlap:
        trial.lines.append(f"ClickHouse: {finding.stored_twice} rows are stored more than once")
    if fault.refuses and not broadcast.refusals:
        trial.lines.append("publishing did not fail, though nothing could be acknowledged")
    if finding.exact and not trial.lines:
        trial.verdict = Verdict.NONE if true.doubts else Verdict.PASS
    else:
        trial.verdict = Verdict.FAIL
    trial.lines += true.doubts
