"""Sending what is prepared, at a pace: the making is done before, and does not slow it."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Iterable, Sequence

from pipeline.log.publisher import Prepared, Publisher


async def send(
    publisher: Publisher, ticks: Iterable[tuple[float, Sequence[Prepared]]], *, most_unacknowledged: int
) -> None:
    """Send each tick's records when it is due (s from now), while not more ticks than that are unacknowledged.

    Raises:
        PublishError: something was not acknowledged.
    """
    began = time.monotonic()
    waiting: deque[Awaitable[None]] = deque()
    for due_s, prepared in ticks:
        await asyncio.sleep(max(0.0, began + due_s - time.monotonic()))
        waiting.append(await publisher.enqueue(prepared))
        if len(waiting) > most_unacknowledged:
            await waiting.popleft()
    for acknowledged in waiting:
        await acknowledged
