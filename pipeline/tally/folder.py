"""One partition's way into its ledger: batches in, in order, one chunk at a time.

There is one rule for everything that can go wrong (Redis away, a reply lost, another worker ahead, the ledger rolled back
or wiped): take the state that the ledger has, and go on from the offset that the ledger names. What the worker's own was
does not matter, since it is a function of the log before an offset. Only if that is the ledger's, too, is it taken up again:
then both are the same, and what is remembered of millions of votes need not be read.
"""

import asyncio
import time
from collections import deque
from typing import Any, Protocol

import structlog

from pipeline import metrics
from pipeline.domain.batch import RecordBatch, join
from pipeline.domain.fold import Chunk, PartitionState, fold
from pipeline.domain.memory import PollMemory
from pipeline.domain.partition import Answer
from pipeline.errors import LogReplacedError, LogTruncatedError, UnavailableError
from pipeline.health import Health
from pipeline.ledger.ledger import Ledger
from pipeline.waiting import for_ever, now_s, until_available

# A script of this many votes takes some 1 ms, in which Redis answers nobody else, and their fold some 20, in which this worker
# does nothing else. In chunks of a third of it, each vote costs half as much again. A fetch brings some 4,500 of a partition.
CHUNK_RECORDS = 6000
# Chunks that are not full begin this long after one another: each has a fixed cost, some 0.5 ms, and the air is made ten
# times a second. What comes after a pause is folded at once.
PACE_S = 0.02
IDLE_LOOK_S = 1.0
REWIND_PAUSE_S = 1.0  # after a seek, batches from before it are still on their way: they are no reason to seek again

log = structlog.get_logger(__name__)


class Log(Protocol):
    """What a folder asks of the log."""

    async def seek(self, partition: int, offset: int) -> None:
        """Read on from an offset."""

    def position(self, partition: int) -> int | None:
        """Give the offset to read next; None: it is not known now."""

    async def begin_offset(self, partition: int) -> int:
        """Give the first offset that the log still has."""

    async def end_offset(self, partition: int, done: int = 0) -> int:
        """Give the offset after the last record; one before what is done of the log is asked for twice."""


class PartitionFolder:
    """Folds one partition. ``run`` is its task; ``add`` hands it a Faust event whose value is a ``FetchedBatch``."""

    def __init__(  # noqa: PLR0913
        self,
        partition: int,
        ledger: Ledger,
        source: Log,
        health: Health,
        *,
        accept_truncated: bool,
        kept: PartitionState | None = None,
    ) -> None:
        self.partition = partition
        self._ledger, self._log, self._health = ledger, source, health.of(partition)
        self._accept_truncated = accept_truncated
        self._events: deque[Any] = deque()
        self._wake = asyncio.Event()
        self._state: PartitionState | None = None  # the ledger's; None: not known now
        self._folded = kept  # the last one that was folded to, whether or not the ledger has it
        self.next_offset: int | None = None  # of the record to fold next, when the ledger was last known
        self._began_at = self._sought_at = self._compared_at = float("-inf")
        self._position: int | None = None  # of the consumer, when it was looked at last
        self._label = str(partition)

    @property
    def memories(self) -> list[PollMemory]:
        """What is remembered of single votes."""
        return [] if self._folded is None else list(self._folded.memory.values())

    def add(self, event: Any) -> None:
        """Queue a batch. The transport bounds how many bytes can wait."""
        self._events.append(event)
        self._wake.set()

    def forget(self) -> PartitionState | None:
        """Let go of what waits, so that it no longer counts as held: somebody else reads it again. Give the last state."""
        self._events.clear()
        for part in ("redis", "kafka"):
            self._health.set(part, None)
        return self._folded

    async def run(self) -> None:
        """Fold for ever.

        Raises:
            LogError: the log cannot be folded exactly; somebody must decide.
            ConfigurationError: Redis holds what is not ours.
        """
        await self._look()
        while True:
            if not await self._woken():
                await self._look()
            while self._events:
                await self._pace()
                await self._fold_next()

    async def _fold_next(self) -> None:
        """Fold what waits, and let go of it: what an idle folder held would count as held, and could close the door for all."""
        events, batch = self._take()
        await self._fold(batch)
        for event in events:
            event.ack()

    async def _woken(self) -> bool:
        """Wait for a batch, but not for ever."""
        try:
            async with asyncio.timeout(IDLE_LOOK_S):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    async def _pace(self) -> None:
        """Let votes gather, if those that wait are few and others were folded a moment ago."""
        pause_s = self._began_at + PACE_S - now_s()
        if (
            pause_s > 0
            and sum(event.value.next_offset - event.value.first_offset for event in self._events) < CHUNK_RECORDS
        ):
            await asyncio.sleep(pause_s)
        self._began_at = now_s()

    async def _look(self) -> None:
        """Look at the ledger while nothing arrives: without votes nobody else would notice that it is behind.

        Redis was wiped, say; or a batch from behind a gap came in the pause after a seek, and nothing came after it.
        """
        try:
            if self._state is not None and await self._ledger.next_offset(self.partition) != self._state.next_offset:
                self._state = None
            await self._know()
            before, self._position = self._position, self._log.position(self.partition)
            # If it has not moved, nothing that was read before it is on its way any more.
            is_still = before == self._position and not self._events
            if is_still and before is not None and await self._realign(before):
                await self._compare(before)
        except UnavailableError as error:
            self._health.set("redis", str(error))
        else:
            self._health.set("redis", None)

    def _take(self) -> tuple[list[Any], RecordBatch]:
        """Take what waits, up to about a chunk, as one batch: many small batches would cost a script each."""
        events = [self._events.popleft()]
        batches = [events[0].value.read(with_headers=False)]
        size = len(batches[0])
        while self._events:
            following = self._events[0].value
            size += following.next_offset - following.first_offset
            if size > CHUNK_RECORDS or following.first_offset != batches[-1].next_offset:
                break
            events.append(self._events.popleft())
            batches.append(following.read(with_headers=False))
        return events, join(batches)

    async def _fold(self, batch: RecordBatch) -> None:
        """Fold a batch, as often as it takes. Afterwards the ledger has it, or the log is read again from before it."""
        async for attempt in for_ever(self._health, "redis"):
            with attempt:
                while await self._realign(batch.first_offset) and await self._apply(batch):
                    pass
        self._health.set("redis", None)

    async def _realign(self, first_offset: int) -> bool:
        """Load the state if it is not known. False: the ledger is behind, and the log is being read again."""
        next_offset = await self._know()
        if first_offset <= next_offset:
            return True
        if now_s() - self._sought_at > REWIND_PAUSE_S:
            await self._rewind(first_offset, next_offset)
        return False

    async def _know(self) -> int:
        """Load the state if it is not known. Give the offset of the record to fold next."""
        if self._state is None:
            self._state = self._folded = await self._load()
        self.next_offset = self._state.next_offset
        return self._state.next_offset

    async def _apply(self, batch: RecordBatch) -> bool:
        """Fold what the ledger does not have yet. True: it answered otherwise than expected, so look again."""
        assert self._state is not None  # noqa: S101  # _realign went before
        await self._compare(batch.next_offset)
        batch = batch.since(self._state.next_offset)
        pieces = max(1, -(-len(batch) // CHUNK_RECORDS))  # no more than it takes, and even ones
        for piece in batch.split(-(-len(batch) // pieces)):
            if not len(piece):
                return False
            before, self._state, self._folded = self._state, None, None
            state, chunk = fold(before, piece)
            self._folded = state  # whether it is the ledger's, too, is unknown until that has answered
            began = time.perf_counter()
            reply = await self._ledger.apply(chunk)
            metrics.APPLY_SECONDS.observe(time.perf_counter() - began)
            if reply.answer is not Answer.APPLIED:
                metrics.REFUSED_CHUNKS.labels(reply.answer).inc()
                log.warning(
                    "chunk refused",
                    partition=self.partition,
                    offset=chunk.first_offset,
                    answer=reply.answer,
                    ledger_next_offset=reply.next_offset,
                )
                return True
            self._state, self.next_offset = state, state.next_offset
            self._measure(piece, chunk)
        return False

    async def _load(self) -> PartitionState:
        began = now_s()
        state = await self._ledger.load(self.partition, self._folded)
        if state is not None:
            votes = sum(map(len, state.memory.values()))
            log.info("ledger loaded", partition=self.partition, remembered=votes, seconds=round(now_s() - began, 3))
        else:
            base = await self._begin_offset()
            if base > 0 and not self._accept_truncated:
                raise LogTruncatedError(
                    f"partition {self.partition} has no ledger, and its log begins at {base}: {base} records are gone, "
                    "with them perhaps votes and the opening of polls. Restore Redis, or fold the archive's records by "
                    "`airtally rebuild --from clickhouse`, or set AIRTALLY_ACCEPT_TRUNCATED_LOG=1 to count from here on"
                )
            await self._ledger.create(self.partition, base)
            log.info("ledger begun", partition=self.partition, offset=base)
            state = PartitionState(base, base=base)
        await self._see_that_log_has(state.next_offset)
        return state

    async def _compare(self, reading: int) -> None:
        """See that the log has what was folded, if it is read from before that: it does not go back by itself."""
        assert self._state is not None  # noqa: S101  # _realign went before
        if reading < self._state.next_offset and now_s() - self._compared_at > REWIND_PAUSE_S:
            await self._see_that_log_has(self._state.next_offset)
            self._compared_at = now_s()

    async def _see_that_log_has(self, next_offset: int) -> None:
        end = await until_available(lambda: self._log.end_offset(self.partition, next_offset), self._health, "kafka")
        if next_offset > end:
            raise LogReplacedError(
                f"the ledger of partition {self.partition} has folded {next_offset} records, the log has {end}: it is "
                "another log (the topic was made anew?). Use another Redis database or another AIRTALLY_TOPIC"
            )

    async def _begin_offset(self) -> int:
        return await until_available(lambda: self._log.begin_offset(self.partition), self._health, "kafka")

    async def _rewind(self, first_offset: int, next_offset: int) -> None:
        begin = await self._begin_offset()
        if begin > next_offset:
            raise LogTruncatedError(
                f"the ledger of partition {self.partition} must read on from {next_offset}, the log begins at {begin}: "
                f"{begin - next_offset} records that were never counted are gone. Restore a newer copy of Redis, or "
                "fold the archive's records by `airtally rebuild --from clickhouse`"
            )
        log.warning("rewind", partition=self.partition, offset=next_offset, seen_offset=first_offset)
        metrics.REWINDS.labels(self._label).inc()
        self._events.clear()
        self._sought_at = now_s()
        await self._log.seek(self.partition, next_offset)

    def _measure(self, piece: RecordBatch, chunk: Chunk) -> None:
        metrics.RECORDS_FOLDED.labels(self._label).inc(len(piece))
        metrics.CHUNK_RECORDS.observe(len(piece))
        metrics.APPEND_TO_APPLIED.observe(max(0.0, time.time() - piece.append_times[0] / 1000))
        for outcome, number in chunk.outcomes.items():
            metrics.OUTCOMES.labels(outcome).inc(number)
