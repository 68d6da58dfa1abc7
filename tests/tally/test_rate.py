"""The guard against slowness: the tally's rate as a part of what a plain consumer reaches here and now, on the same log."""

import statistics
import sys
from dataclasses import replace

import pytest

from bench.crowd import Crowd, fill
from bench.peers.roster import PEERS, Command
from bench.peers.run import Run, measure
from pipeline.local.stack import LocalStack
from pipeline.settings import Settings

ROUNDS = 3
LEAST_OF_FLOOR = 0.25  # it is above 0.5 on a quiet machine; a regression that matters is one by a factor
CROWD = Crowd(records=150_000, voters=40_000, votes_per_voter=4)


@pytest.mark.real
@pytest.mark.timeout(300)
async def test_the_tally_keeps_up_with_a_part_of_a_plain_consumer(system: LocalStack, found: Settings) -> None:
    expected = await fill(found, CROWD)

    commands = {  # what the floor needs is in this environment
        "floor-aiokafka": Command([sys.executable, "-m", "bench.peers.floor_aiokafka"]),
        "airtally": Command([sys.executable, "-m", "pipeline.cli", "tally"]),
    }

    async def run(name: str, *, dedupes: bool) -> Run:
        peer = replace(next(peer for peer in PEERS if peer.name == name), dedupes=dedupes)
        return await measure(system, found, peer, commands[name], expected, CROWD.votes_per_voter)

    ratios = []
    for _ in range(ROUNDS):
        floor, tally = await run("floor-aiokafka", dedupes=False), await run("airtally", dedupes=True)
        assert floor.wrong == tally.wrong == []
        ratios.append(tally.votes_per_s / floor.votes_per_s)
    assert statistics.median(ratios) > LEAST_OF_FLOOR, ratios
    # The negative control: one that counts repeats is found out.
    assert (await run("floor-aiokafka", dedupes=True)).wrong != []
