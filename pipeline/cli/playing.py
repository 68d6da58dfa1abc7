"""Watching a player from a command."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable

from pipeline.show.player import Player
from pipeline.waiting import repeating

EVERY_S = 0.25


@contextlib.asynccontextmanager
async def watch(player: Player, report: Callable[[int, int], None]) -> AsyncIterator[None]:
    """Call `report(records sent, records per second)` a few times a second, and once at the end."""
    sent, at = 0, time.monotonic()

    def look() -> None:
        nonlocal sent, at
        now = time.monotonic()
        report(player.progress.sent, round((player.progress.sent - sent) / (now - at)))
        sent, at = player.progress.sent, now

    try:
        async with repeating(look, EVERY_S):
            yield
    finally:
        report(player.progress.sent, 0)
