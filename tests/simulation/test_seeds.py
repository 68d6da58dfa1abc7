"""Some ten thousand thrown steps, and that they notice what they should. The long form: `make simulation`."""

import subprocess
import sys

import pytest

from .broken import BROKEN, Broken
from .seeds import EPISODE_STEPS, Failure, episode, run

SEEDS = range(1, 101)


def first_failure(broken: Broken) -> Failure | None:
    with broken.in_force():
        return next(filter(None, (run(broken.make(seed), seed) for seed in SEEDS)), None)


def test_nothing_is_lost_or_twice_or_stalled() -> None:
    for seed in SEEDS:
        failure = run(episode(seed), seed)
        assert failure is None, str(failure)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.what)
def test_a_broken_promise_is_noticed_and_replays(broken: Broken) -> None:
    failure = first_failure(broken)
    assert failure is not None, "nothing was noticed"
    with broken.in_force():
        assert run(broken.make(failure.seed), failure.seed) == failure


def test_the_command_runs_the_steps_that_it_is_told() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--steps", "1000", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert f"{3 * EPISODE_STEPS} steps in 3 episodes, seeds 7 to 9: nothing lost" in done.stdout
