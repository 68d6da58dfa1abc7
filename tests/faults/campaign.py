"""The campaign: trials, on several sets of servers side by side, each trial alone on its set."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.catalog import FAULTS, PLACES
from tests.faults.fault import Fault
from tests.faults.servers import running_servers
from tests.faults.trial import Trial, run_trial


@dataclass(frozen=True)
class Planned:
    """A trial to run."""

    fault: Fault
    place: float
    seed: int
    controls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def plan(
    faults: Sequence[Fault] = FAULTS, places: Sequence[float] = PLACES, seeds: Iterable[int] = (1,)
) -> list[Planned]:
    """Give a trial for each fault at each place with each seed."""
    return [Planned(fault, place, seed) for seed in seeds for fault in faults for place in places]


async def run(
    planned: Sequence[Planned], folder: Path, *, lanes: int, on_trial: Callable[[Trial], None] = lambda _: None
) -> list[Trial]:
    """Run trials; give their results in the order of the plan.

    Raises:
        UnavailableError: the servers do not come up.
        MissingToolError: one is not installed.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is away is what these trials are about
    waiting = list(enumerate(planned))[::-1]
    trials: dict[int, Trial] = {}

    async def lane(number: int) -> None:
        async with running_servers(folder / f"lane-{number}") as servers:
            while waiting:
                index, each = waiting.pop()
                trials[index] = await run_trial(servers, each.fault, each.place, each.seed, each.controls)
                on_trial(trials[index])

    await asyncio.gather(*(lane(number) for number in range(min(lanes, len(planned)))))
    return [trial for _, trial in sorted(trials.items())]
