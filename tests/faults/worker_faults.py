"""Workers that die, sleep, come and go."""

from pipeline.log.app import SESSION_TIMEOUT_S
from tests.faults.fault import Act, Fault
from tests.faults.scene import Scene

PAST_SESSION_S = SESSION_TIMEOUT_S + 1.5


def _kill(service: str) -> Act:
    async def kill(scene: Scene) -> None:
        await scene.of(service)[0].kill()

    return kill


def _start_again(service: str) -> Act:
    async def start(scene: Scene) -> None:
        dead = next(worker for worker in scene.workers if worker.service == service and not worker.alive)
        await scene.start(service, name=dead.name)

    return start


def _freeze(service: str) -> Act:
    async def freeze(scene: Scene) -> None:
        scene.of(service)[0].freeze()

    return freeze


def _thaw(service: str) -> Act:
    async def thaw(scene: Scene) -> None:
        scene.of(service)[0].thaw()

    return thaw


async def _second_owner(scene: Scene) -> None:
    await scene.start("second-tally")


async def _join(scene: Scene) -> None:
    await scene.start("tally")
    await scene.start("archive")


async def _leave(scene: Scene) -> None:
    for service in ("tally", "archive"):
        await scene.of(service)[0].leave()


FAULTS = (
    Fault(name="tally: one of two killed", tally=2, inject=_kill("tally")),
    Fault(name="archive: one of two killed", archive=2, inject=_kill("archive")),
    Fault(name="tally: killed, started again", static=True, inject=_kill("tally"), heal=_start_again("tally")),
    Fault(name="archive: killed, started again", static=True, inject=_kill("archive"), heal=_start_again("archive")),
    Fault(
        name="tally: asleep past its session",
        tally=2,
        inject=_freeze("tally"),
        lasts_s=PAST_SESSION_S,
        heal=_thaw("tally"),
    ),
    Fault(
        name="archive: asleep past its session",
        archive=2,
        inject=_freeze("archive"),
        lasts_s=PAST_SESSION_S,
        heal=_thaw("archive"),
        overlap=True,
    ),
    Fault(name="tally: two owners, one killed", prepare=_second_owner, inject=_kill("second-tally")),
    Fault(name="workers: join, and the first leave", inject=_join, lasts_s=1.0, heal=_leave),
)
