"""Waiting for a part that is away: with back-off, for ever, and visibly. A service does not die of it and loses nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any, TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from pipeline import metrics
from pipeline.errors import UnavailableError
from pipeline.health import Health

T = TypeVar("T")

FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 2.0
CANCEL_AGAIN_S = 0.2

log = structlog.get_logger(__name__)


def now_s() -> float:
    """Read the event loop's clock: monotonic, and in a simulation the simulated one, as for every timeout and sleep."""
    return asyncio.get_running_loop().time()


@contextlib.asynccontextmanager
async def repeating(call: Callable[[], None], every_s: float) -> AsyncIterator[None]:
    """Call again and again while the block runs, first after `every_s`."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(every_s)
            call()

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        await end_tasks([task])


async def end_tasks(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended, whatever they ended with.

    One request may be lost: a client library that catches everything while it makes a connection has swallowed it, and the
    task goes on, in a rebalance that waits for it. So it is asked again.
    """
    left = list(tasks)
    while left:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
        left = [task for task in left if not task.done()]
    for task in tasks:
        if not task.cancelled():
            task.exception()  # whoever made it knows of it


def for_ever(health: Health, part: str) -> AsyncRetrying:
    """Give tenacity's attempts: again after each ``UnavailableError``, noting it in health, metrics and log."""

    def note(retry: RetryCallState) -> None:
        error = retry.outcome.exception() if retry.outcome else None
        health.set(part, str(error))
        metrics.RETRIES.labels(part).inc()
        if retry.attempt_number in (1, 2, 5) or retry.attempt_number % 20 == 0:
            log.warning("waiting", part=part, attempt=retry.attempt_number, error=str(error))

    return AsyncRetrying(
        retry=retry_if_exception_type(UnavailableError),
        wait=wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S),
        before_sleep=note,
        reraise=True,
    )


async def until_available(call: Callable[[], Awaitable[T]], health: Health, part: str) -> T:
    """Call until the part answers; give its answer."""
    async for attempt in for_ever(health, part):
        with attempt:
            answer = await call()
    health.set(part, None)
    return answer
