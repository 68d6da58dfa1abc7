"""One look at the ledgers, and what it changes on the air. Keeps nothing that it could not read again.

What it remembers of each poll is the version that is shown. So it can tell when a ledger fell behind what is shown (and
holds the numbers), and can show them again when Redis lost the display together with the ledgers.
"""

from dataclasses import dataclass, field

import structlog

from pipeline import metrics
from pipeline.domain.poll import PollId, Status
from pipeline.domain.record import MAX_AGE_MS
from pipeline.domain.result import merge
from pipeline.errors import RedisMismatchError
from pipeline.health import Health
from pipeline.live.completeness import LogEnd, Times, counted_to, lag, times
from pipeline.live.display import Display, Shown
from pipeline.live.keys import encode_series
from pipeline.live.reading import Heads, LiveReader
from pipeline.live.seconds import Seconds
from pipeline.live.snapshot import Instants, ShownStatus, Snapshot, hold, is_behind, says_the_same, snapshot

CHECK_EVERY_MS = 1_000  # whether the display still has everything that is shown
LOOKS_OF_A_TURN = 10  # in which each poll that is over is read once

log = structlog.get_logger(__name__)


@dataclass
class _Followed:
    """A poll that is on the display, or should be."""

    shown: Shown | None = None
    seconds: Seconds | None = None
    series: bytes | None = None  # the encoded series
    read_at: tuple[int, ...] = ()  # the offsets at which it was read last
    lost: bool = False  # the display does not have it (any more)
    foreign: str | None = None


@dataclass(frozen=True)
class _Look:
    """What one look at the heads found."""

    now_ms: int
    heads: Heads
    counted_to: int
    lag: int | None


@dataclass
class Merger:
    """Merges ledgers into versions. Its calls raise ``UnavailableError`` while Redis is away."""

    ledgers: LiveReader
    display: Display
    health: Health
    topic: str
    log_end: LogEnd | None = None  # set by whoever watches the log
    polls: dict[PollId, _Followed] = field(default_factory=dict)
    _counts: tuple[int, ...] = ()
    _checked_at: int = 0
    _turn: int = 0
    _news: dict[PollId, Shown] = field(default_factory=dict)  # the newest of each poll that nobody was told of

    async def begin(self) -> None:
        """Take up what is on the display already: that is no news."""
        for poll_id in await self.display.known():
            followed = _Followed()
            await self._load(poll_id, followed)
            if followed.foreign is None:
                self.polls[poll_id] = followed
        self._news.clear()

    async def look(self, now_ms: int) -> list[Shown]:
        """Look once; give the newest versions of polls that have new ones since the last look that did not fail."""
        if not 0 <= now_ms - self._checked_at < CHECK_EVERY_MS:
            await self._check()
            self._checked_at = now_ms
        heads = await self.ledgers.heads()
        if heads.polls != self._counts:
            for poll_id in await self.ledgers.polls():
                self.polls.setdefault(poll_id, _Followed())
            self._counts = heads.polls
        look = _Look(now_ms, heads, counted_to(heads.positions, self.log_end), lag(heads.positions, self.log_end))
        self._measure(look)
        for poll_id in self._due(look):
            await self._refresh(poll_id, self.polls[poll_id], look)
        news, self._news = self._news, {}
        return list(news.values())

    async def _check(self) -> None:
        """Notice what the display has lost, and whether foreign keys are gone."""
        followed = [poll_id for poll_id, poll in self.polls.items() if poll.shown is not None]
        for poll_id in await self.display.missing(followed):
            self.polls[poll_id].lost = True
        for poll_id, poll in self.polls.items():
            if poll.foreign is not None:
                await self._load(poll_id, poll)
        self.health.set("display", next((poll.foreign for poll in self.polls.values() if poll.foreign), None))

    async def _load(self, poll_id: PollId, poll: _Followed) -> None:
        try:
            shown, poll.series = await self.display.load(poll_id)
        except RedisMismatchError as error:
            poll.foreign = str(error)
            return
        poll.foreign = None
        if shown is not None:
            self._take(poll, shown)

    def _take(self, poll: _Followed, shown: Shown) -> None:
        """Take note of what is shown of a poll, and that it is news."""
        poll.shown = shown
        self._news[shown.snapshot.id] = shown

    def _due(self, look: _Look) -> list[PollId]:
        """Name the polls that may say something new. Those that are over take turns, each within a second or so."""
        offsets, due, over = look.heads.next_offsets, [], []
        for poll_id, poll in self.polls.items():
            shown = None if poll.shown is None else poll.shown.snapshot
            if poll.foreign is not None:
                continue
            if shown is None or poll.lost or shown.status is ShownStatus.RECOUNTING or is_behind(offsets, shown):
                due.append(poll_id)
            elif _is_over(shown, look):
                over.append(poll_id)
            elif poll.read_at != offsets or _is_dated(shown, look):
                due.append(poll_id)
        for _ in range(0, len(over), LOOKS_OF_A_TURN):
            self._turn += 1
            poll_id = over[self._turn % len(over)]
            poll = self.polls[poll_id]
            shown = None if poll.shown is None else poll.shown.snapshot
            is_dated = shown is not None and shown.phase is not Status.FINAL and _is_dated(shown, look)
            if is_dated or poll.read_at != offsets:
                due.append(poll_id)
        return due

    async def _refresh(self, poll_id: PollId, poll: _Followed, look: _Look) -> None:
        if poll.shown is None:
            await self._load(poll_id, poll)
            if poll.foreign is not None:
                log.error("not ours", poll="/".join(poll_id), problem=poll.foreign)
                return
            if poll.shown is not None:
                return  # another instance was faster: it may have read the ledgers after these heads
        before = None if poll.shown is None else poll.shown.snapshot
        if before is not None and is_behind(look.heads.next_offsets, before):
            wanted: Snapshot | None = hold(before, look.lag)
            series = poll.series if poll.lost else None
        else:
            wanted, series = await self._read(poll_id, poll, before, look)
        if wanted is None or (before is not None and not poll.lost and says_the_same(wanted, before)):
            return
        await self._show(poll, before, wanted, series, look.now_ms)

    async def _read(
        self, poll_id: PollId, poll: _Followed, before: Snapshot | None, look: _Look
    ) -> tuple[Snapshot | None, bytes | None]:
        """Read a poll; give its snapshot, and its series if that has grown. None: no partition knows it."""
        rules = before if before is not None else await self._read_rules(poll_id)
        if rules is None:
            return None, None
        second = _times(rules, look).second
        read = merge(poll_id, await self.ledgers.read(poll_id, [option.id for option in rules.options], second))
        if read is None:
            return None, None
        if poll.seconds is None:
            poll.seconds = Seconds(tuple(option.id for option in read.rules.options), read.rules.opened_at)
        final = read.status is Status.FINAL
        now = times(look.now_ms, look.counted_to, read.rules.opened_at, read.closed_at, final=final)
        complete = max(rules.complete_to, now.complete_to)
        if final:
            second = now.second  # after the last one with votes, however early the marker came
        series = None
        if starts := poll.seconds.wanted(complete, final=final):
            votes = await self.ledgers.seconds(poll_id, poll.seconds.option_ids, starts)
            poll.seconds.take(starts, votes, final=final)
        if starts or poll.series is None or poll.lost:
            series = poll.series = encode_series(poll.seconds.series(*poll_id))
        poll.read_at = look.heads.next_offsets
        return snapshot(read, Instants(look.now_ms, complete, second, look.lag), self.topic), series

    async def _read_rules(self, poll_id: PollId) -> Snapshot | None:
        """Read a poll that was never shown, for its options and instants alone. None: no partition knows it."""
        read = merge(poll_id, await self.ledgers.read(poll_id, [], 0))
        return None if read is None else snapshot(read, Instants(0, 0, 0, None), self.topic)

    async def _show(
        self, poll: _Followed, before: Snapshot | None, wanted: Snapshot, series: bytes | None, now_ms: int
    ) -> None:
        # When Redis has lost what was shown, the clock alone would not do: it may have been set back since.
        least_version = now_ms if before is None else max(now_ms, before.version + 1)
        try:
            shown, accepted = await self.display.show(wanted, series, least_version)
        except RedisMismatchError as error:
            poll.foreign = str(error)
            return
        poll.lost = False
        metrics.LIVE_VERSIONS.labels("shown" if accepted else "refused").inc()
        if before is not None and shown.version <= before.version:
            return
        self._take(poll, shown)
        if accepted and (before is None or before.status is not wanted.status):
            log.info("status", poll=f"{wanted.show_id}/{wanted.poll_id}", status=wanted.status, version=shown.version)

    def _measure(self, look: _Look) -> None:
        metrics.LIVE_BEHIND.set(max(0, look.now_ms - look.counted_to) / 1000)
        recounting = [poll for poll in self.polls.values() if poll.shown and _is_held(poll.shown.snapshot)]
        metrics.LIVE_RECOUNTING.set(len(recounting))


def _times(shown: Snapshot, look: _Look) -> Times:
    """Say what time alone makes of a poll. What is complete stays so, whichever clock said it."""
    final = shown.phase is Status.FINAL
    now = times(look.now_ms, look.counted_to, shown.opened_at, shown.closed_at, final=final)
    return Times(max(shown.complete_to, now.complete_to), max(shown.second, now.second))


def _is_dated(shown: Snapshot, look: _Look) -> bool:
    return _times(shown, look) != Times(shown.complete_to, shown.second) or shown.lag != look.lag


def _is_over(shown: Snapshot, look: _Look) -> bool:
    """Tell whether no vote can count any more: it is final, or whatever comes now was cast too long ago."""
    if shown.closed_at is None or shown.complete_to < shown.closed_at:
        return False
    return shown.phase is Status.FINAL or look.counted_to > shown.closed_at + MAX_AGE_MS


def _is_held(shown: Snapshot) -> bool:
    return shown.status is ShownStatus.RECOUNTING
