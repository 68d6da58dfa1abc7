"""The tally on real parts: every record of a show has the outcome that its maker planned, whatever happens meanwhile."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from pipeline.domain.poll import PollId
from pipeline.ledger.connection import connect
from pipeline.local.process import Child
from pipeline.local.stack import LocalStack
from pipeline.log.publisher import Publisher
from pipeline.settings import Settings
from pipeline.show.expectation import Expectation
from pipeline.show.player import Player
from pipeline.show.script import Script, default_script
from tests.workers import eventually, folded, found_in_redis, page, running, start

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

SCRIPT = default_script(records=16_000, seconds=4)


async def play(found: Settings, script: Script = SCRIPT, seed: int = 5) -> Expectation:
    async with Publisher(found) as publisher:
        return await Player(script, seed, publisher).play()


async def play_while(found: Settings, happens: Callable[[], Awaitable[None]]) -> Expectation:
    """Play the show; in its middle something happens."""
    playing = asyncio.create_task(play(found))
    await asyncio.sleep(SCRIPT.duration_s / 2)
    await happens()
    return await playing


async def assert_exact(found: Settings, expected: Expectation) -> None:
    await folded(found)
    says = await found_in_redis(found, PollId(expected.show_id, expected.poll_id))
    assert not (lines := expected.differences(says)), "\n".join(lines)
    # The negative control: the same comparison notices one vote more.
    cell = next(iter(says.cells))
    says.cells[cell] += 1
    assert expected.differences(says) != []


async def test_a_show_is_counted_as_planned(system: LocalStack, topic: Settings) -> None:
    with running(system, topic, "tally"):
        await assert_exact(topic, await play(topic))


async def test_a_backlog_is_counted_by_two_workers(system: LocalStack, topic: Settings) -> None:
    expected = await play(topic)
    with running(system, topic, "tally"), running(system, topic, "tally"):
        await assert_exact(topic, expected)


async def test_a_killed_worker_is_followed_by_another(system: LocalStack, topic: Settings) -> None:
    first = await asyncio.to_thread(start, system, topic, "tally", AIRTALLY_INSTANCE_ID="a")

    async def kill() -> None:
        first.kill()

    expected = await play_while(topic, kill)
    with running(system, topic, "tally", AIRTALLY_INSTANCE_ID="a"):
        await assert_exact(topic, expected)


async def filed_bytes(worker: Child) -> float:
    lines = (await page(worker, "/metrics")).decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("airtally_tally_filed_bytes "))


async def test_more_is_remembered_than_memory_may_hold(system: LocalStack, topic: Settings) -> None:
    """What has some size goes into files; a worker that is killed is followed by one that makes its own."""
    little = {"AIRTALLY_REMEMBERED_BYTES": "0"}

    async def has_filed(worker: Child) -> bool:
        return await filed_bytes(worker) > 0

    async def has_let_go(worker: Child) -> bool:
        return await filed_bytes(worker) == 0

    first = await asyncio.to_thread(start, system, topic, "tally", AIRTALLY_INSTANCE_ID="a", **little)
    playing = asyncio.create_task(play(topic, default_script(records=200_000, seconds=10)))
    await eventually(lambda: has_filed(first), "the first worker has votes in files")
    first.kill()
    with running(system, topic, "tally", AIRTALLY_INSTANCE_ID="a", **little) as second:
        await eventually(lambda: has_filed(second), "the second worker has them in files")
        await assert_exact(topic, await playing)
        await eventually(lambda: has_let_go(second), "the second worker has let go of them: the poll is final")


async def test_a_zombie_counts_nothing_twice(system: LocalStack, topic: Settings) -> None:
    # The first worker sleeps past its session; the second takes its partitions; the first wakes in mid batch.
    with running(system, topic, "tally") as zombie:
        pid = zombie.identity.pid

        async def sleep() -> None:
            os.kill(pid, signal.SIGSTOP)

        expected = await play_while(topic, sleep)
        with running(system, topic, "tally"):
            await folded(topic)
            os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(2)
            await assert_exact(topic, expected)


async def test_redis_killed_and_started_empty(system: LocalStack, topic: Settings) -> None:
    async def lose() -> None:
        system.children["redis"].kill()
        await asyncio.sleep(1.5)
        await asyncio.to_thread(system.restart, "redis")

    with running(system, topic, "tally"):
        await assert_exact(topic, await play_while(topic, lose))


async def test_redis_flushed_while_nobody_votes(system: LocalStack, topic: Settings) -> None:
    with running(system, topic, "tally"):
        expected = await play(topic, replace(SCRIPT, records=4_000))
        await assert_exact(topic, expected)
        client = connect(topic)
        await client.flushall()
        await client.aclose()
        await assert_exact(topic, expected)


async def test_kafka_killed_and_started_again(system: LocalStack, topic: Settings) -> None:
    async def crash() -> None:
        system.children["kafka"].kill()
        await asyncio.to_thread(system.restart, "kafka")

    with running(system, topic, "tally"):
        await assert_exact(topic, await play_while(topic, crash))
