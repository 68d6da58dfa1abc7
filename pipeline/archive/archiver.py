"""From the log into ClickHouse: batches are collected over some partitions and stored flush by flush, in order.

One rule, as in the tally: what has been stored is what ClickHouse says. A partition whose position is in doubt (an
assignment, a gap) is asked for, and its log read on from there. A flush, once made, is sent until it is stored.
"""

import asyncio
import time
from collections import deque
from collections.abc import Collection
from typing import Any

import structlog

from pipeline import metrics
from pipeline.archive.buffer import FlushPolicy
from pipeline.archive.flush import Flush
from pipeline.archive.store import ArchiveStore
from pipeline.domain.batch import RecordBatch
from pipeline.errors import LogReplacedError, LogTruncatedError, UnavailableError
from pipeline.health import Health
from pipeline.log.app import AppLog
from pipeline.waiting import for_ever, now_s, until_available

REWIND_PAUSE_S = 1.0  # as in the tally: batches from before a seek are on their way still
IDLE_LOOK_S = 5.0

log = structlog.get_logger(__name__)


class Archiver:
    """Stores partitions that this worker has. ``run`` is its task; ``add`` hands it a Faust event."""

    def __init__(self, topic: str, store: ArchiveStore, source: AppLog, health: Health, policy: FlushPolicy) -> None:
        self._topic, self._store, self._log, self._health = topic, store, source, health
        self._buffer = policy.buffer()
        self._collected: list[Any] = []  # the events whose batches are in the buffer
        self._events: deque[Any] = deque()
        self._wake = asyncio.Event()
        self._held: set[int] = set()  # the partitions to look after
        self._next: dict[int, int] = {}  # the offset to collect next; a partition that is missing must be asked for
        self._stored: dict[int, int] = {}  # the offset to store next, once it was asked for
        self._sought_at: dict[int, float] = {}
        self._compared_at: dict[int, float] = {}
        self._inserting: asyncio.Task[None] | None = None  # the flush that is not known to have arrived
        self._looked_at = float("-inf")
        self._doubts_seen = 0  # of the store's

    @property
    def next_offsets(self) -> dict[int, int | None]:
        """The offsets to store next, of the partitions to look after. None: it must be asked for."""
        return {partition: self._stored[partition] if partition in self._next else None for partition in self._held}

    def add(self, event: Any) -> None:
        """Queue a batch. The transport bounds how many bytes can wait."""
        self._events.append(event)
        self._wake.set()

    def hold(self, partitions: Collection[int]) -> None:
        """Look after these partitions, also while nothing of them arrives."""
        self._held = set(partitions)
        self._wake.set()

    def release(self, partitions: Collection[int]) -> None:
        """Look after these no longer."""
        self._held -= set(partitions)

    async def forget(self, partitions: Collection[int]) -> None:
        """Let go of partitions, or doubt their positions. A flush that is on its way arrives first."""
        for partition in partitions:
            self._next.pop(partition, None)
        self._buffer.discard(partitions)
        self._events = deque(event for event in self._events if event.value.tp.partition not in partitions)
        await self._settle()

    async def run(self) -> None:
        """Store for ever.

        Raises:
            LogError: the log cannot be stored whole; somebody must decide.
            ConfigurationError: ClickHouse holds other tables.
        """
        while True:
            await self._woken()
            for partition in sorted(self._held - set(self._next)):
                await self._begin(partition)
            while self._events:
                event = self._events.popleft()
                if await self._collect(event.value.read()):
                    self._collected.append(event)
                if self._buffer.is_due(_now_ms()):
                    await self._flush()
            if self._buffer.is_due(_now_ms()):
                await self._flush()
            await self._look()

    async def close(self) -> None:
        """Store what is collected, once more and without waiting for long, and let the rest be read again."""
        try:
            async with asyncio.timeout(10):
                await self._flush()
                await self._settle()
        except (TimeoutError, UnavailableError) as error:
            log.warning("not stored before the stop; it is read again at the next start", error=str(error))

    async def _woken(self) -> None:
        due_ms = self._buffer.due_in_ms(_now_ms())
        try:
            async with asyncio.timeout(IDLE_LOOK_S if due_ms is None else due_ms / 1000):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _collect(self, batch: RecordBatch) -> bool:
        """Take what is new of a batch into the buffer. False: nothing is, or the log is being read again from before it."""
        partition = batch.partition
        if partition not in self._next:
            await self._begin(partition)
        next_offset = self._next[partition]
        if batch.first_offset > next_offset:
            await self._rewind(partition, next_offset, batch.first_offset)
            return False
        if batch.next_offset <= next_offset:
            await self._compare(partition, batch.next_offset, next_offset)
            return False
        new = batch.since(next_offset)
        self._buffer.add(new, _now_ms())
        self._next[partition] = batch.next_offset
        return True

    async def _position(self, partition: int) -> int:
        """Ask ClickHouse what it holds of a partition."""
        await self._settle()

        begin = await until_available(lambda: self._log.begin_offset(partition), self._health, "kafka")
        found = await until_available(
            lambda: self._store.whole_to(self._topic, {partition: begin}), self._health, "clickhouse"
        )
        stored = found.get(partition)
        if stored is None:
            return begin
        end = await self._end_offset(partition, stored)  # last: another worker may store what comes in meanwhile
        if not begin <= stored <= end:
            raise _impossible(partition, stored, begin, end)
        return stored

    async def stored(self, partitions: Collection[int]) -> dict[int, int]:
        """Ask ClickHouse, once, how far it holds the log of some partitions without a hole.

        Raises:
            UnavailableError: it, or Kafka, does not answer.
        """
        begins = {partition: await self._log.begin_offset(partition) for partition in partitions}
        return begins | await self._store.whole_to(self._topic, begins)

    async def _rewind(self, partition: int, next_offset: int, seen_offset: int) -> None:
        if now_s() - self._sought_at.get(partition, float("-inf")) < REWIND_PAUSE_S:
            return
        log.warning("rewind", partition=partition, offset=next_offset, seen_offset=seen_offset)
        self._sought_at[partition] = now_s()
        await self._log.seek(partition, next_offset)

    async def _flush(self) -> None:
        """Send what is collected, after the flush before it has arrived; collecting goes on meanwhile."""
        await self._settle()
        flush, events = self._buffer.take(), self._collected
        self._collected = []
        if flush is not None:
            self._inserting = asyncio.create_task(self._insert(flush, events), name="insert")

    async def _settle(self) -> None:
        """Wait until the flush that is on its way has arrived."""
        inserting = self._inserting
        if inserting is not None:
            await asyncio.shield(inserting)
            if self._inserting is inserting:  # another that waited too may have sent the next one by now
                self._inserting = None

    async def _insert(self, flush: Flush, events: list[Any]) -> None:
        block = await self._store.block(flush)
        began = time.perf_counter()
        async for attempt in for_ever(self._health, "clickhouse"):
            with attempt:
                if attempt.retry_state.attempt_number > 1:
                    self._store.doubts += 1
                    if await self._store.holds(flush):
                        break  # the answer was lost, not the flush
                await self._store.insert(flush, block)
        self._health.set("clickhouse", None)
        metrics.FLUSH_SECONDS.observe(time.perf_counter() - began)
        metrics.FLUSH_RECORDS.observe(flush.rows)
        metrics.FLUSH_BYTES.observe(flush.bytes)
        metrics.APPEND_TO_STORED.observe(max(0.0, time.time() - flush.oldest_append_ms / 1000))
        for run in flush.ranges:
            metrics.ARCHIVED.labels(str(run.partition)).inc(run.next_offset - run.first_offset)
            self._stored[run.partition] = run.next_offset
        for event in events:
            event.ack()

    async def _look(self) -> None:
        """Look for what ClickHouse has lost, when it was away; and while nothing arrives, or nobody else would notice."""
        if self._inserting is not None and self._inserting.done():
            await self._settle()
        quiet = not self._events and not self._buffer.rows and self._inserting is None
        doubts = self._store.doubts
        if not (quiet or doubts > self._doubts_seen) or not self._held or now_s() - self._looked_at < IDLE_LOOK_S:
            return
        self._looked_at = now_s()
        await self._flush()
        await self._settle()  # now all that was collected should be there
        try:
            stored = await self.stored(sorted(self._held))
        except UnavailableError as error:
            self._health.set("clickhouse", str(error))
            return
        self._health.set("clickhouse", None)
        self._doubts_seen = doubts
        for partition, end in stored.items():
            await self._look_at(partition, end)

    async def _look_at(self, partition: int, stored: int) -> None:
        """See that all of a partition is stored, and that its log is read on from there."""
        expected = self._next.get(partition)
        if expected is None or stored < expected:
            if expected is not None:
                log.warning("records are missing in ClickHouse", partition=partition, offset=stored)
            position = await self._position(partition)
            if self._next.get(partition) == expected:
                self._begin_at(partition, position)
        reading, next_offset = self._log.position(partition), self._next.get(partition)
        if self._events or reading is None or next_offset is None:
            return
        if reading > next_offset:
            await self._rewind(partition, next_offset, reading)
        else:
            await self._compare(partition, reading, next_offset)

    async def _begin(self, partition: int) -> None:
        self._begin_at(partition, await self._position(partition))

    def _begin_at(self, partition: int, offset: int) -> None:
        self._next[partition] = self._stored[partition] = offset

    async def _compare(self, partition: int, reading: int, next_offset: int) -> None:
        """See that the log has what was collected, if it is read from before that: it does not go back by itself."""
        compared_at = self._compared_at.get(partition, float("-inf"))
        if reading >= next_offset or now_s() - compared_at < REWIND_PAUSE_S:
            return
        end = await self._end_offset(partition, next_offset)
        if next_offset > end:
            raise _replaced(f"{next_offset} records of partition {partition} were read", end)
        self._compared_at[partition] = now_s()

    async def _end_offset(self, partition: int, done: int) -> int:
        return await until_available(lambda: self._log.end_offset(partition, done), self._health, "kafka")


def _replaced(what: str, end: int) -> LogReplacedError:
    return LogReplacedError(
        f"{what}, the log has {end}: it is another log (the topic was made anew?). Use another "
        "AIRTALLY_CLICKHOUSE_DATABASE or another AIRTALLY_TOPIC"
    )


def _impossible(partition: int, stored: int, begin: int, end: int) -> LogTruncatedError | LogReplacedError:
    if stored > end:
        return _replaced(f"ClickHouse holds {stored} records of partition {partition}", end)
    return LogTruncatedError(
        f"ClickHouse needs partition {partition} from {stored} on, its log begins at {begin}: {begin - stored} records "
        "that were never stored are gone. Set AIRTALLY_CLICKHOUSE_DATABASE to a new name to store what there is"
    )


def _now_ms() -> int:
    return int(now_s() * 1000)
