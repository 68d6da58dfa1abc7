"""The long form: `python -m tests.simulation --steps 1000000 --seed 1`. A failing seed is printed, and replays."""

import argparse
import logging
import sys
import time

import structlog

from .seeds import EPISODE_STEPS, episode, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000, help="steps in all")
    parser.add_argument("--seed", type=int, default=1, help="of the first episode; the others follow")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began, episodes = time.monotonic(), -(-given.steps // EPISODE_STEPS)
    for number in range(episodes):
        seed = given.seed + number
        if failure := run(episode(seed), seed):
            print(f"{failure}\nAgain: python -m tests.simulation --seed {seed} --steps {EPISODE_STEPS}")  # noqa: T201
            return 1
    seconds = time.monotonic() - began
    print(  # noqa: T201
        f"{episodes * EPISODE_STEPS} steps in {episodes} episodes, seeds {given.seed} to {given.seed + episodes - 1}: "
        f"nothing lost, nothing twice, nothing stalled ({seconds:.0f} s)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
