"""A log that is shorter than what was done of it: no rebalance tells, and nothing in it would ever be counted or stored."""

from collections.abc import Iterator

import pytest

from pipeline.errors import LogReplacedError

from .archive import ArchiveWorld
from .tally import TallyWorld
from .worker import PARTITIONS
from .world import World

MADE_ANEW = 2  # the partition whose log is
WRITTEN = 40


@pytest.fixture(params=[TallyWorld, ArchiveWorld])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made: World = request.param(1)
    for partition in range(PARTITIONS):
        made.produce(partition, WRITTEN)
    made.calm()
    yield made
    made.close()


@pytest.mark.parametrize("left", [0, 1, WRITTEN - 1])
def test_a_log_made_anew_in_silence_stops_its_worker(world: World, left: int) -> None:
    owner = world.workers[world.owners[MADE_ANEW]]
    # Kafka tells a consumer that asks for an offset behind the end, and it begins with the first that there is.
    world.log.ends[MADE_ANEW] = left
    owner.log.positions[MADE_ANEW] = 0
    pass_time(world)

    assert [type(crash) for crash in owner.app.crashes] == [LogReplacedError]
    assert f"partition {MADE_ANEW}" in str(owner.app.crashes[0])
    assert f"{WRITTEN} records" in str(owner.app.crashes[0])
    assert not any(worker.app.crashes for worker in world.workers if worker is not owner)


def test_a_log_that_is_read_again_stops_nobody(world: World) -> None:
    world.workers[world.owners[MADE_ANEW]].log.positions[MADE_ANEW] = 0
    pass_time(world)
    world.calm()


def pass_time(world: World) -> None:
    """Deliver and answer all, for half a minute."""
    for _ in range(60):
        for number in range(len(world.workers)):
            while world.answer(number, 0) or any(world.deliver(number, choice, 10) for choice in range(PARTITIONS)):
                pass
        world.wait(0.5)
