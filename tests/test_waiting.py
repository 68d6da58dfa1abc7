"""Tasks that are told to end do, also those that a library keeps from hearing it."""

import asyncio
from contextlib import suppress

import pytest

from pipeline.ledger.connection import connect
from pipeline.settings import Settings
from pipeline.waiting import end


async def test_a_task_that_loses_its_cancellation_is_cancelled_again() -> None:
    lost = 0

    async def deaf() -> None:
        nonlocal lost
        while lost < 2:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            lost += 1
        await asyncio.sleep(60)

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await asyncio.wait_for(end([task]), 10)
    assert task.cancelled()
    assert lost == 2


@pytest.mark.real
async def test_a_task_that_calls_redis_again_and_again_ends(found: Settings) -> None:
    client = connect(found)

    async def call() -> None:
        while True:
            await client.eval("local n = 0 for i = 1, 200000 do n = n + i end return n", 0)

    tasks = [asyncio.create_task(call()) for _ in range(8)]
    await asyncio.sleep(0.05)
    await asyncio.wait_for(end(tasks), 10)
    assert all(task.cancelled() for task in tasks)
    await client.aclose()
