"""The plain driver: steps thrown with a seed. An episode is a world of its own, and its seed is all that replays it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from .archive import ArchiveWorld
from .tally import TallyWorld
from .world import World

EPISODE_STEPS = 400
RARE = 2

# Of a hundred steps, about so many of each kind. Most of a show is records on their way, and answers.
COMMON = {
    "produce": 8,
    "deliver": 14,
    "redeliver": 2,
    "answer": 40,
    "perform": 6,
    "cut": 4,
    "arrive_late": 2,
    "wait": 8,
    "crash": 1,
    "freeze": 1,
    "wake": 2,
    "hand_over": 2,
    "notice": 2,
    "calm": 1,
}
PART = {"save": 2, "roll_back": 1, "wipe": 1}
TALLY = COMMON | PART
ARCHIVE = COMMON | PART | {"die_at_next_insert": 1, "forget_tokens": 1}
WAITS_S = (0.0, 0.01, 0.1, 0.3, 1.0, 6.0)


@dataclass(frozen=True)
class Failure:
    """What went wrong, and where to find it again."""

    seed: int
    steps: list[str]  # up to the violation
    reason: str

    def __str__(self) -> str:
        last = "\n".join(f"  {step}" for step in self.steps[-12:])
        return f"seed {self.seed}, step {len(self.steps)}: {self.reason}\nThe last steps:\n{last}"


def run(world: World, seed: int, steps: int = EPISODE_STEPS) -> Failure | None:
    """Throw some steps at a new world, and let it come to rest."""
    taken: list[str] = []
    random = Random(seed)
    # Some troubles hide others, so each episode does without some of the rare ones (Groce et al., Swarm Testing, 2012).
    kinds = {name: often for name, often in kinds_of(world).items() if often > RARE or random.random() < 0.6}
    try:
        for name in [*random.choices(list(kinds), list(kinds.values()), k=steps), "calm"]:
            step = step_of(world, name, [random.randrange(1 << 16) for _ in range(4)])
            taken.append(f"{name}({', '.join(map(str, step.args))})")
            step()
            world.check()
    except Exception as error:  # noqa: BLE001  # a worker or a part that raises what nobody expects has failed too
        return Failure(seed, taken, f"{type(error).__name__}: {error}")
    finally:
        world.close()
    return None


def kinds_of(world: World) -> dict[str, int]:
    """Give the kinds of steps, and how often each is taken."""
    return TALLY if isinstance(world, TallyWorld) else ARCHIVE


def step_of(world: World, name: str, numbers: Sequence[int]) -> "partial[bool]":
    """Make a step of any four numbers; it takes as many as it needs."""
    method = getattr(world, name)
    arguments = [kind for kind in method.__annotations__ if kind != "return"]
    return partial(method, *[_argument(kind, number) for kind, number in zip(arguments, numbers, strict=False)])


def _argument(kind: str, number: int) -> float:
    if kind == "seconds":
        return WAITS_S[number % len(WAITS_S)]
    return 1 + number % 12 if kind == "records" else number


def episode(seed: int) -> World:
    """Make the world of a seed: even ones are of the tally, odd ones of the archive."""
    return ArchiveWorld(seed) if seed % 2 else TallyWorld(seed)
