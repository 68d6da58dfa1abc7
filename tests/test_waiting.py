"""Tasks end when they are told to, also those that did not hear it the first time."""

import asyncio
import contextlib

from pipeline.waiting import end_tasks


async def test_a_task_that_swallows_its_cancellation_is_told_again() -> None:
    begun = asyncio.Event()

    async def deaf_once() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            begun.set()
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    task = asyncio.create_task(deaf_once())
    await begun.wait()
    await end_tasks([task])
    assert task.cancelled()


async def test_a_task_that_has_failed_is_ended_in_silence() -> None:
    async def fail() -> None:
        raise ValueError("for nobody to hear")

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await end_tasks([task])
    assert task.done()
