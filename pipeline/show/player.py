"""Plays a script on the wall clock: markers and votes into whatever publishes, and the oracle of what was acknowledged."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import Protocol

from pipeline.clock import now_ms
from pipeline.domain.record import Marker
from pipeline.show.expectation import MARKER, Block, Expectation
from pipeline.show.generator import Generator
from pipeline.show.script import Script
from pipeline.show.ways import Forwards, ways_of

MAX_UNACKNOWLEDGED = 64  # ticks: a show that outruns its broker waits for it, so memory stays bounded


class Publishes(Protocol):
    """What a player needs of a publisher."""

    async def publish_marker(self, marker: Marker) -> dict[int, int]:
        """Publish a marker into every partition."""

    async def enqueue_many(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> Awaitable[None]:
        """Hand over records in order; give what to await for their acknowledgement."""


@dataclass
class Progress:
    """How far a show has come."""

    sent: int = 0  # records handed to the publisher
    acknowledged: int = 0
    tick: int = 0
    phase: str = "open"


class Player:
    """Plays one show."""

    def __init__(self, script: Script, seed: int, publisher: Publishes, fronts: Forwards | None = None) -> None:
        """Choose.

        Args:
            script: what happens.
            seed: of who votes for what.
            publisher: into the log.
            fronts: edges in front, by which a part of the voters votes; None: everything is published directly.
        """
        self.script, self.seed = script, seed
        self.progress = Progress()
        self._publisher, self._fronts = publisher, fronts
        self._ended = False
        self._unacknowledged: deque[tuple[Block, asyncio.Task[None]]] = deque()

    def end(self) -> None:
        """Let a show that does not close its poll end at its next tick."""
        self._ended = True

    async def play(
        self,
        *,
        opened_at: int | None = None,
        closes: bool = True,
    ) -> Expectation:
        """Play from the opening to after the final marker; give what an exact count must say.

        Args:
            opened_at: the poll was opened before, at this instant (ms), and is not opened here.
            closes: send the closing and final markers of the script; without, the poll stays open.

        Raises:
            PublishError: something was not acknowledged. What was is in the oracle; the rest cannot be known.
        """
        opened = now_ms() if opened_at is None else opened_at
        generator = Generator(self.script, self.seed, opened_at=opened)
        expected = generator.expectation()
        if opened_at is None:
            expected.expect(MARKER, len(await self._publisher.publish_marker(self.script.opened(opened))))
        start, now = time.monotonic(), opened
        for tick in range(self.script.ticks):
            due = start + tick * self.script.tick_ms / 1000
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self._ended:
                break
            if closes:
                await self._markers(tick, generator, expected)
            now = max(now, now_ms())  # the wall clock may step back; a show does not
            await self._publish(generator.tick(now), expected)
            self.progress.tick = tick + 1
        await self._settle(expected, 0)
        self.progress.phase = "done"
        return expected

    async def _markers(
        self,
        tick: int,
        generator: Generator,
        expected: Expectation,
    ) -> None:
        if tick == self.script.close_tick:
            closed_at = now_ms() + int(self.script.notice_s * 1000)
            expected.expect(MARKER, len(await self._publisher.publish_marker(self.script.closed(closed_at))))
            generator.close(closed_at)
            self.progress.phase = "closing"
        if tick == self.script.final_tick:
            await self._settle(expected, 0)  # what was sent before it is in the log before it
            expected.expect(MARKER, len(await self._publisher.publish_marker(self.script.final())))
            generator.finalize()
            self.progress.phase = "final"

    async def _publish(self, block: Block, expected: Expectation) -> None:
        if not len(block):
            return
        self._unacknowledged.append((block, asyncio.ensure_future(await self._send(block))))
        self.progress.sent += len(block)
        await self._settle(expected, MAX_UNACKNOWLEDGED)

    async def _send(self, block: Block) -> Awaitable[None]:
        """Send a block; give what to await until all of it is acknowledged."""
        if self._fronts is None:
            return await self._publisher.enqueue_many(zip(block.keys, block.values, strict=True))
        ways = ways_of(block)
        direct = await self._publisher.enqueue_many(ways.direct)
        return _both(direct, self._fronts.forward(ways.forwarded))

    async def _settle(self, expected: Expectation, leave: int) -> None:
        """Take acknowledged blocks into the oracle, waiting until at most `leave` are open."""
        while self._unacknowledged and (len(self._unacknowledged) > leave or self._unacknowledged[0][1].done()):
            block, acknowledged = self._unacknowledged.popleft()
            await acknowledged
            expected.add(block)
            self.progress.acknowledged += len(block)


async def _both(one: Awaitable[None], other: Awaitable[None]) -> None:
    await asyncio.gather(one, other)
