"""Hands versions to thousands of readers, so that none waits for another.

A reader is a task of its own that sends what is newest whenever its connection takes it, and skips what it missed. The hub
only wakes readers, some at a time, so that a round over all of them never keeps the next look at the ledgers waiting. While
a round lasts newer versions may come; the readers that are woken later send those.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline import metrics
from pipeline.clock import now_ms
from pipeline.domain.poll import PollId
from pipeline.live.display import Shown

WOKEN_AT_ONCE = 100  # some 10 ms of this process
HEARTBEAT_S = 10.0
STUCK_S = 30.0  # a connection that takes nothing for so long has nobody at its end

AHEAD_MS = 10_000  # an id further ahead of ours than clocks can differ is not one of ours

Send = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True)
class Event:
    """A version in the form of an event stream, encoded once for all readers."""

    version: int
    encoded: bytes
    stream: bytes


def event_of(shown: Shown) -> Event:
    """Make the event of a version."""
    return Event(shown.version, shown.encoded, b"id: %d\ndata: %b\n\n" % (shown.version, shown.encoded))


class Reader:
    """One open stream of one poll."""

    def __init__(self, poll_id: PollId, last_version: int | None) -> None:
        self.poll_id = poll_id
        self.version = last_version or 0  # the newest that it has
        self.sent_at = time.monotonic()
        self.sending = False
        self.heartbeat_due = True  # what it gets first may be old
        self.closed = False
        self._woken: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Let it look whether there is something newer."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def close(self) -> None:
        """End it: nobody is there any more."""
        self.closed = True
        self.wake()

    async def wait(self) -> None:
        """Wait until it is woken."""
        self._woken = asyncio.get_running_loop().create_future()
        await self._woken

    def takes(self, version: int) -> bool:
        """Tell whether a version is news to it. What it had from another instance may be newer than ours."""
        return version > self.version or self.version > version + AHEAD_MS


class Hub:
    """The newest event of each poll, and everybody who wants it."""

    def __init__(self) -> None:
        self.events: dict[PollId, Event] = {}
        self._readers: dict[Reader, asyncio.Task[Any] | None] = {}
        self._news = asyncio.Event()
        self.looked_at = time.monotonic()  # when the ledgers were looked at last
        self.closed = False

    def __len__(self) -> int:
        return len(self._readers)

    def publish(self, shown: Shown) -> None:
        """Make a version the newest of its poll."""
        self.events[shown.snapshot.id] = event_of(shown)
        self._news.set()

    async def serve(self, reader: Reader, send: Send) -> None:
        """Send a reader what is newest, until it or the hub is closed."""
        self._readers[reader] = asyncio.current_task()
        metrics.LIVE_READERS.set(len(self._readers))
        try:
            while not (self.closed or reader.closed):
                await self._serve(reader, send)
        finally:
            del self._readers[reader]
            metrics.LIVE_READERS.set(len(self._readers))

    async def run(self) -> None:
        """Wake readers for ever."""
        looked_at = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S / 2):
                    await self._news.wait()
            self._news.clear()
            if time.monotonic() - looked_at >= HEARTBEAT_S / 2:
                looked_at = time.monotonic()
                self._look_after(looked_at)
            await self._round()

    async def close(self) -> None:
        """End all streams; their readers will connect to somebody else, or again."""
        self.closed = True
        await self._round()

    async def _round(self) -> None:
        for some in _slices(list(self._readers), WOKEN_AT_ONCE):
            for reader in some:
                reader.wake()
            await asyncio.sleep(0)

    def _look_after(self, now: float) -> None:
        """Tell readers without news that we are here, and let go of those that are not."""
        for reader, task in list(self._readers.items()):
            if task is not None and reader.sending and now - reader.sent_at > STUCK_S:
                metrics.LIVE_READERS_DROPPED.inc()
                task.cancel()
            reader.heartbeat_due = reader.heartbeat_due or now - reader.sent_at > HEARTBEAT_S / 2

    async def _serve(self, reader: Reader, send: Send) -> None:
        event = self.events.get(reader.poll_id)
        if event is not None and reader.takes(event.version):
            reader.version = event.version
            metrics.LIVE_EVENTS.inc()
            await self._send(reader, send, event.stream)
        elif reader.heartbeat_due:
            reader.heartbeat_due = False
            await self._send(reader, send, self._heartbeat())
        else:
            await reader.wait()

    def _heartbeat(self) -> bytes:
        """Say that we are here, when, and for how long nobody could know anything new; no client takes it for a version."""
        ago = 1000 * (time.monotonic() - self.looked_at)
        return b'event: beat\ndata: {"at":%d,"looked_ms_ago":%d}\n\n' % (now_ms(), ago)

    async def _send(self, reader: Reader, send: Send, content: bytes) -> None:
        reader.sending, reader.sent_at = True, time.monotonic()
        await send(content)
        reader.sending = False


def _slices(readers: list[Reader], size: int) -> Iterator[list[Reader]]:
    for first in range(0, len(readers), size):
        yield readers[first : first + size]
