"""A show on the demo's stage: played to its end, or until somebody ends it, with a line that says how it goes."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator

from rich.live import Live
from rich.table import Table

from pipeline.cli.context import console, read_result
from pipeline.cli.playing import watch
from pipeline.clock import now_ms
from pipeline.domain.poll import PollId
from pipeline.ledger.reader import open_ledgers
from pipeline.load.fronts import Fronts
from pipeline.log.offsets import LogOffsets
from pipeline.log.publisher import Publisher
from pipeline.settings import Settings
from pipeline.show.evening import chapters, last_chapter
from pipeline.show.expectation import MARKER, Expectation
from pipeline.show.player import Player
from pipeline.show.script import Script
from pipeline.waiting import end

LOOK_EVERY_S = 0.25


async def play(found: Settings, script: Script, seed: int, fronts: Fronts) -> Expectation:
    """Play a show to its end, a part of it through the edge; give what must be said of it."""
    console.print(
        f"[bold]On the air[/]: {script.records:,} records in {script.duration_s:.0f} s, seed {seed}", highlight=False
    )
    async with _stage(found, PollId(script.show_id, script.poll_id), fronts) as stage:
        return await stage.play(script, seed)


async def play_until_ended(found: Settings, seed: int, fronts: Fronts) -> Expectation:
    """Play a show without end until Ctrl-C or SIGTERM, then its last chapter; give what must be said of it all."""
    console.print(
        "[bold]On the air[/] until Ctrl-C, which closes the poll, makes it final, and compares", highlight=False
    )
    last = last_chapter()
    expected, opened_at = Expectation(last.show_id, last.poll_id), now_ms()
    async with _stage(found, PollId(last.show_id, last.poll_id), fronts) as stage:
        expected.expect(MARKER, len(await stage.publisher.publish_marker(last.opened(opened_at))))
        with _told_to_end(stage.end):
            for number, chapter in enumerate(chapters(seed), start=1):
                if stage.ended:
                    break
                expected.merge(await stage.play(chapter, seed + number, opened_at=opened_at, closes=False))
        expected.merge(await stage.play(last, seed, opened_at=opened_at))
    return expected


class _Stage:
    """Plays one script after another, and adds up what was sent."""

    def __init__(self, publisher: Publisher, fronts: Fronts) -> None:
        self.publisher, self._fronts = publisher, fronts
        self.ended = False
        self.counted, self.lag = 0, 0
        self._player: Player | None = None
        self._sent_before, self._sent, self._per_s = 0, 0, 0

    async def play(
        self, script: Script, seed: int, *, opened_at: int | None = None, closes: bool = True
    ) -> Expectation:
        self._player, self._sent_before = Player(script, seed, self.publisher, self._fronts), self._sent

        def sent(records: int, per_s: int) -> None:
            self._sent, self._per_s = self._sent_before + records, per_s

        async with watch(self._player, sent):
            return await self._player.play(opened_at=opened_at, closes=closes)

    def end(self) -> None:
        self.ended = True
        if self._player is not None:
            self._player.end()

    def line(self) -> Table:
        table = Table(box=None, show_header=False)
        table.add_row(
            f"[bold]{self._player.progress.phase if self._player else '':8}[/]",
            f"sent {self._sent:>9,}",
            f"({self._per_s:>7,}/s)",
            f"counted {self.counted:>9,}",
            f"lag {max(0, self.lag):>7,}",
        )
        return table


@contextlib.asynccontextmanager
async def _stage(found: Settings, poll: PollId, fronts: Fronts) -> AsyncIterator[_Stage]:
    """Open a stage, with its line on the terminal."""
    async with Publisher(found) as publisher, open_ledgers(found) as reader, LogOffsets(found) as offsets:
        stage = _Stage(publisher, fronts)

        async def look(live: Live) -> None:
            while True:
                read = await read_result(found, poll, windows=False)
                heads = await reader.heads()
                stage.counted = read.total if read else 0
                stage.lag = sum((await offsets.end()).values()) - sum(head.next_offset for head in heads)
                live.update(stage.line())
                await asyncio.sleep(LOOK_EVERY_S)

        with Live(console=console, refresh_per_second=4, transient=False) as live:
            looking = asyncio.create_task(look(live))
            try:
                yield stage
            finally:
                await end([looking])
                live.update(stage.line())


@contextlib.contextmanager
def _told_to_end(end: Callable[[], None]) -> Iterator[None]:
    """Take Ctrl-C as the end of the show. A second one, while it closes, ends the command as always."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
