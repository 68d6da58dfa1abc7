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
CANCEL_EVERY_S = 0.05

log = structlog.get_logger(__name__)


def now_s() -> float:
    """Read the event loop's clock: monotonic, and in a simulation the simulated one, as for every timeout and sleep."""
    return asyncio.get_running_loop().time()


@contextlib.asynccontextmanager
async def repeating(call: Callable[[], Awaitable[None] | None], every_s: float) -> AsyncIterator[None]:
    """Call again and again while the block runs, first after `every_s`."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                if (waited := call()) is not None:
                    await waited
            except Exception:  # a bug of one time is not to end all the others
                log.exception("a bug in what is done again and again")

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        await end([task])


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended, however they end.

    Once is not enough: redis-py lets a command on its way finish, and the cancellation is lost with it.
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=CANCEL_EVERY_S)
    await asyncio.gather(*tasks, return_exceptions=True)  # what they raised is of no use to anybody now


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
