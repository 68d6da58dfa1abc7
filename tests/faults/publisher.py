"""The show published by a process of its own, which may be killed: `python -m tests.faults.publisher JOURNAL SEED`.

Started again with the same journal, it publishes again what was not acknowledged, with the same ids, and plays the rest.
"""

import asyncio
import sys
from pathlib import Path

from pipeline.local import process
from pipeline.local.parts import Addresses
from pipeline.local.process import Child
from pipeline.local.service import Service
from pipeline.log.publisher import Publisher
from pipeline.settings import Settings, load
from pipeline.show.script import Script, default_script
from tests.faults.broadcast import Broadcast
from tests.faults.journal import Journal
from tests.faults.oracle import Log, Truth, truth
from tests.workers import environment

AHEAD = 16
LINGER_MS = 10


class ChildBroadcast:
    """A show that is published elsewhere, as this process sees it."""

    def __init__(self, script: Script, seed: int, found: Settings, folder: Path) -> None:
        self.script, self.seed = script, seed
        self._file = folder / "journal"
        self._service = Service(
            "publisher",
            [sys.executable, "-m", "tests.faults.publisher", str(self._file), str(seed), str(script.records)],
            env=environment(found),
        )
        self._folder = folder
        self._child: Child | None = None
        self._away = False
        self.refusals: list[str] = []

    @property
    def journal(self) -> Journal:
        """What the publisher has written down so far."""
        return Journal.read(self._file)

    @property
    def unacknowledged(self) -> int:
        """How many steps are under way at this moment."""
        journal = self.journal
        return len(journal.entries) - journal.acknowledged

    @property
    def progress(self) -> float:
        """How much of the show is over, 0 to 1."""
        return sum(entry.kind == "tick" for entry in self.journal.entries) / self.script.ticks

    def truth(self, log: Log) -> Truth:
        """Tell what must be counted."""
        return truth(self.script, self.seed, self.journal, log)

    async def start(self) -> None:
        """Start the publisher, or start it again."""
        launch = self._service.launch(self._folder, Addresses())
        self._child = await asyncio.to_thread(process.start, launch)
        self._away = False

    async def kill(self) -> None:
        """End it as a crash would."""
        assert self._child is not None
        self._away = True
        await asyncio.to_thread(self._child.kill)

    async def play(self) -> None:
        """Start it, and wait until the show is over.

        Raises:
            RuntimeError: it ended before its time, and nobody had killed it.
        """
        await self.start()
        try:
            while self._away or (self._child is not None and self._child.alive):
                await asyncio.sleep(0.1)
        finally:
            if self._child is not None:
                await asyncio.to_thread(self._child.kill)
        if self.progress < 1 or self.unacknowledged:
            raise RuntimeError(process.tail(self._folder / "publisher.log"))


def script_of(seed: int, records: int) -> Script:
    """Give the show of a trial: six seconds, everything that can happen to a vote."""
    return default_script(records=records, seconds=6, show_id="faults", poll_id=f"poll-{seed}")


async def _play(file: Path, seed: int, records: int) -> None:
    async with Publisher(load(), linger_ms=LINGER_MS) as publisher:
        await Broadcast(script_of(seed, records), seed, publisher, Journal.read(file), ahead=AHEAD).play()


if __name__ == "__main__":
    asyncio.run(_play(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
