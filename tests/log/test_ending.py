"""A process whose stop does not come to an end: in a process of its own."""

import subprocess
import sys

ENDLESS = """
import asyncio, sys
from pipeline.log.ending import end_within
async def stop_for_ever() -> None:
    timer = end_within(0.3, ValueError("partition 4 is nobody's"))
    if sys.argv[1] == "cancelled":
        timer.cancel()
    while True:
        try:
            await asyncio.sleep(float(sys.argv[2]))
            return
        except asyncio.CancelledError:
            pass
asyncio.run(stop_for_ever())
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ENDLESS, *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def test_it_is_ended_and_says_why_and_what_it_waited_for() -> None:
    done = run("armed", "60")
    assert done.returncode == 1
    assert "partition 4 is nobody's" in done.stdout + done.stderr
    assert "stop_for_ever" in done.stdout + done.stderr


def test_one_that_ends_by_itself_is_let_go() -> None:
    assert run("cancelled", "0.6").returncode == 0
