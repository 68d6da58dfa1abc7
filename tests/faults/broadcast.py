"""A seeded show on the wall clock, published until acknowledged: what fails is sent again, unchanged.

Unlike ``pipeline.show.player`` it goes on after a failure, and after its own death: with the journal that it has written, a
second one sends again what was not acknowledged, and plays the rest.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pipeline.clock import now_ms
from pipeline.domain.record import Marker
from pipeline.errors import PublishError
from pipeline.log.publisher import Publisher
from pipeline.show.script import Script
from tests.faults.journal import Entry, Journal, Kind, Rehearsal, Step
from tests.faults.oracle import Log, Truth, truth

AGAIN_S = 0.2
GIVE_UP_S = 120.0

SendMarker = Callable[[Marker], Awaitable[object]]


@dataclass
class Broadcast:
    """Plays a show.

    Attributes:
        ahead: how many steps may be published without their acknowledgement. More than one only where no failure is
            survived in this process: what is sent again must not be overtaken.
        send_marker: sends a marker instead of the publisher.
        refusals: what publishing failed with, each time.
    """

    script: Script
    seed: int
    publisher: Publisher
    journal: Journal = field(default_factory=Journal)
    ahead: int = 1
    send_marker: SendMarker | None = None
    refusals: list[str] = field(default_factory=list)
    _astray: int = 0

    @property
    def progress(self) -> float:
        """How much of the show is over, 0 to 1."""
        return sum(entry.kind == "tick" for entry in self.journal.entries) / self.script.ticks

    def truth(self, log: Log) -> Truth:
        """Tell what must be counted."""
        return truth(self.script, self.seed, self.journal, log)

    def go_astray(self) -> None:
        """Publish votes of an edge with a wrong clock, next."""
        self._astray += 1

    async def play(self) -> None:
        """Play to the end; what the journal has of it already is sent again where it was not acknowledged.

        Raises:
            PublishError: something was not acknowledged, however often it was sent.
        """
        self._rehearsal = Rehearsal(self.script, self.seed)
        self._waiting: deque[asyncio.Task[None]] = deque()
        before = self._rehearsal.steps(self.journal.entries)
        for step in before[self.journal.acknowledged :]:
            await self._publish(step)
        if not self.journal.entries:
            await self._go("opened", now_ms())
        first = self._count("tick")
        start = time.monotonic()
        for tick in range(first, self.script.ticks):
            await asyncio.sleep(max(0.0, start + (tick - first) * self.script.tick_ms / 1000 - time.monotonic()))
            await self._markers(tick)
            while self._astray:
                self._astray -= 1
                await self._go("astray", now_ms())
            await self._go("tick", now_ms())
        await self._settle(0)

    async def _markers(self, tick: int) -> None:
        if tick >= self.script.close_tick and not self._count("closed"):
            await self._go("closed", now_ms() + int(self.script.notice_s * 1000))
        if tick >= self.script.final_tick and not self._count("final"):
            await self._go("final", now_ms())

    def _count(self, kind: Kind) -> int:
        return sum(entry.kind == kind for entry in self.journal.entries)

    async def _go(self, kind: Kind, at: int) -> None:
        """Note a step, then take it. Time may stand still, but does not go back."""
        last = max((entry.at for entry in self.journal.entries if entry.kind != "closed"), default=0)
        entry = Entry(kind, max(at, last))
        self.journal.write(entry)
        await self._publish(*self._rehearsal.steps([entry]))

    async def _publish(self, step: Step) -> None:
        """Publish a step after the one before it: enqueued in order, and sent again in order if need be."""
        if step.marker is not None:
            await self._settle(0)  # what was sent before a marker is in the log before it
        if self.ahead > 1 and step.marker is None:
            acknowledgement = await self.publisher.enqueue_many(zip(step.block.keys, step.block.values, strict=True))
            self._waiting.append(asyncio.ensure_future(acknowledgement))
            await self._settle(self.ahead - 1)
        else:
            await self._until_acknowledged(step)
            self.journal.acknowledge(self.journal.acknowledged + 1)

    async def _settle(self, leave: int) -> None:
        while len(self._waiting) > leave or (self._waiting and self._waiting[0].done()):
            await self._waiting.popleft()
            self.journal.acknowledge(self.journal.acknowledged + 1)

    async def _until_acknowledged(self, step: Step) -> None:
        deadline = time.monotonic() + GIVE_UP_S
        while True:
            try:
                if step.marker is not None:
                    await (self.send_marker or self.publisher.publish_marker)(step.marker)
                else:
                    await self.publisher.publish_many(zip(step.block.keys, step.block.values, strict=True))
            except PublishError as error:
                self.refusals.append(str(error))
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(AGAIN_S)
            else:
                return
