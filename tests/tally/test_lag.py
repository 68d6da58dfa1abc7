"""What a worker says of how far it is behind: also while it reads nothing, and only of what it has."""

import asyncio
import os
import signal

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.local.process import Child
from pipeline.local.stack import LocalStack
from pipeline.log.offsets import LogOffsets
from pipeline.settings import Settings
from tests.workers import eventually, folded, page, problems, running

from .test_exact import play

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

LITTLE = str(1 << 20)  # bytes that a worker may have fetched: fewer than are played


async def gauges(worker: Child, name: str) -> dict[int, float]:
    """Read a gauge of each partition."""
    families = text_string_to_metric_families((await page(worker, "/metrics")).decode())
    return {
        int(sample.labels["partition"]): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


async def test_the_lag_grows_while_nothing_is_fetched(system: LocalStack, topic: Settings) -> None:
    with running(system, topic, "tally", AIRTALLY_BACKLOG_BYTES=LITTLE) as worker:
        await folded(topic)

        async def lags_by(records: int) -> bool:
            return sum((await gauges(worker, "airtally_tally_lag_records")).values()) == records

        async with LogOffsets(topic) as offsets:
            before = sum((await offsets.end()).values())
            system.children["redis"].kill()
            await play(topic)
            missing = sum((await offsets.end()).values()) - before
        await eventually(lambda: lags_by(missing), f"a lag of {missing} records")
        assert "redis" in await problems(worker)
        await asyncio.to_thread(system.restart, "redis")
        await eventually(lambda: lags_by(0), "no lag")


async def test_a_worker_is_not_ready_while_kafka_does_not_answer(system: LocalStack, topic: Settings) -> None:
    with running(system, topic, "tally") as worker:

        async def says_so() -> bool:
            return "kafka" in await problems(worker)

        async def is_ready() -> bool:
            return not await problems(worker)

        pid = system.children["kafka"].identity.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            await eventually(says_so, "the problem is told")
        finally:
            os.kill(pid, signal.SIGCONT)
        await eventually(is_ready, "ready again")


async def test_a_partition_is_measured_by_who_has_it(system: LocalStack, topic: Settings) -> None:
    names = ["airtally_tally_lag_records", "airtally_tally_next_offset"]
    with running(system, topic, "tally") as first:

        async def of_first(name: str) -> set[int]:
            return set(await gauges(first, name))

        async def has_all() -> bool:
            return [await of_first(name) for name in names] == [set(range(topic.partitions))] * 2

        await eventually(has_all, "all are measured")
        with running(system, topic, "tally") as second:

            async def are_shared() -> bool:
                of_both = [(await of_first(name), set(await gauges(second, name))) for name in names]
                return all(
                    one and other and not one & other and len(one | other) == topic.partitions for one, other in of_both
                )

            await eventually(are_shared, "each is measured by one of two")
