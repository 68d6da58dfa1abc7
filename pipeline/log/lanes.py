"""Records that come one by one, sent together: one batch at a time for each partition.

The first record to come waits for `linger_ms`, or twice that while others are on their way; then all that have come
meanwhile are dealt out to the lanes, so that one request to a broker has the batches of many. While a lane's batch is on its
way, what comes next for it waits and becomes the next batch, so batches grow by themselves under load. A partition whose
leader is away holds up nobody else's.

aiokafka repeats a batch until the broker has it, however long that takes: idempotence makes that safe within one producer.
What waits is bounded, and whoever would go beyond that is told so at once.
"""

import asyncio
import contextlib
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from pipeline import metrics
from pipeline.errors import BackpressureError, PublishError, UnavailableError
from pipeline.log.connection import client_options, start_client, stop_producer, unavailable_if_down
from pipeline.log.partitioner import java_partitions
from pipeline.log.publisher import BATCH_BYTES, MAX_REQUEST_BYTES
from pipeline.settings import Settings

Settled = Callable[[PublishError | None], None]  # called once: with None when all in-sync replicas have the record

LINGER_MS = 2  # longer ones cost viewers time, and save neither the edge nor the broker any
MANY = 256  # records: as large a request costs the broker little more for one more
RENEW_EVERY_S = 0.5  # between attempts to get a new producer
# For a producer to take a batch: at the first it asks where the topic's partitions are, for 30 s at most. One that was stopped
# meanwhile would never answer.
TAKEN_S = 35.0
METADATA_S = 10.0  # for a new producer to learn that
STOP_S = 2.0  # for a producer that has nothing to send any more

log = structlog.get_logger(__name__)


class Lanes:
    """A lane for each partition of the log. Use it as an asynchronous context manager.

    Leaving it waits up to `close_s` for what is on its way; what is not acknowledged then is settled with an error.
    """

    def __init__(
        self, settings: Settings, *, linger_ms: int = LINGER_MS, most_in_flight: int = 30_000, close_s: float = 30.0
    ) -> None:
        self._link = _Link(settings)
        self._lanes = [
            _Lane(self._link, settings.topic, partition, self._count) for partition in range(settings.partitions)
        ]
        self._arrived: list[_Record] = []  # since the last departure
        self._departure: asyncio.TimerHandle | None = None
        self._linger_s = linger_ms / 1000
        self._is_closed = False
        self.in_flight = 0  # records that were submitted and are not settled
        self._most_in_flight, self._close_s = most_in_flight, close_s

    async def __aenter__(self) -> Self:
        await self._link.open()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._depart()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._close_s):
                await asyncio.gather(*[lane.task for lane in self._lanes if lane.task is not None])
        self._depart()  # what has come meanwhile is told, too
        self._is_closed = True
        for lane in self._lanes:
            await lane.abandon()
        await self._link.close()

    def room(self) -> int:
        """Give how many records would be taken now."""
        return self._most_in_flight - self.in_flight

    def stalled_s(self) -> float:
        """Give for how long some partition has acknowledged none, although some are on their way to it."""
        since = min((lane.since for lane in self._lanes if lane.task is not None), default=math.inf)
        return max(0.0, time.monotonic() - since)

    def submit(self, records: Sequence[tuple[bytes, bytes]], settled: Settled) -> None:
        """Take records (key, value), at least one, all or none of them; `settled` is called once for all.

        Raises:
            BackpressureError: too many are on their way, or it is being closed; none of these was taken.
        """
        if self._is_closed:
            raise BackpressureError("the publisher is closed: nothing more is taken")
        if len(records) > self.room():
            raise BackpressureError(
                f"{self.in_flight} records are on their way to Kafka, and {self._most_in_flight} is the limit: try again later"
            )
        countdown = _Countdown(len(records), settled)
        self.in_flight += len(records)
        self._arrived += [(key, value, countdown) for key, value in records]
        if self._departure is None:
            self._departure = asyncio.get_running_loop().call_later(self._linger_s, self._depart_if_free)

    def _depart_if_free(self) -> None:
        """Depart; or wait once more, if few have arrived, and batches are on their way that they would wait behind anyhow."""
        if len(self._arrived) < MANY and any(lane.task is not None for lane in self._lanes):
            self._departure = asyncio.get_running_loop().call_later(self._linger_s, self._depart)
        else:
            self._depart()

    def _depart(self) -> None:
        """Deal out what has arrived. Many keys are hashed at a small part of the cost of single ones."""
        if self._departure is not None:
            self._departure.cancel()
            self._departure = None
        arrived, self._arrived = self._arrived, []
        partitions = java_partitions([key for key, _, _ in arrived], len(self._lanes))
        for record, partition in zip(arrived, partitions, strict=True):
            self._lanes[partition].add(record)

    def _count(self, settled: int) -> None:
        self.in_flight -= settled


class _Countdown:
    """Settles when the last of some records is settled, with the first error of any."""

    __slots__ = ("_error", "_left", "_settled")

    def __init__(self, records: int, settled: Settled) -> None:
        self._left, self._settled = records, settled
        self._error: PublishError | None = None

    def __call__(self, records: int, error: PublishError | None) -> None:
        self._left -= records
        self._error = self._error or error
        if not self._left:
            self._settled(self._error)


_Record = tuple[bytes, bytes, _Countdown]  # key, value, and who is told


class _Lane:
    """What waits for one partition, and the task that sends it, while there is something."""

    def __init__(self, link: "_Link", topic: str, partition: int, count: Callable[[int], None]) -> None:
        self._link, self._topic, self._partition, self._count = link, topic, partition, count
        self._waiting: deque[_Record] = deque()
        self._sent: list[_Countdown] = []  # one for each record
        self.task: asyncio.Task[None] | None = None
        self.since = 0.0  # it has something to send, or had its last acknowledgement (s, monotonic)

    def add(self, record: _Record) -> None:
        self._waiting.append(record)
        if self.task is None:
            self.since = time.monotonic()
            self.task = asyncio.get_running_loop().create_task(self._run())

    async def abandon(self) -> None:
        """Stop sending, and say so to whoever waits."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        self._sent += [countdown for _, _, countdown in self._waiting]
        self._waiting.clear()
        self._settle(
            PublishError("the publisher was closed before Kafka acknowledged; publish it again with the same id")
        )

    async def _run(self) -> None:
        while self._waiting:
            error = await self._send()
            if error is None:
                self.since = time.monotonic()
            self._settle(error)
        self.task = None

    async def _send(self) -> PublishError | None:
        """Send as much as fits into a batch, and wait until it is acknowledged, or never will be."""
        producer = await self._link.producer()
        try:
            batch = producer.create_batch()
            while self._waiting:
                key, value, countdown = self._waiting[0]
                if batch.append(key=key, value=value, timestamp=None) is None and batch.record_count():
                    break
                self._waiting.popleft()
                self._sent.append(countdown)
            began = time.monotonic()
            async with asyncio.timeout(TAKEN_S):
                acknowledgement = await producer.send_batch(batch, self._topic, partition=self._partition)
            await acknowledgement
            metrics.PUBLISH_SECONDS.observe(time.monotonic() - began)
        except (KafkaError, TimeoutError) as error:
            self._link.renew(producer, error)
            return PublishError(f"not acknowledged: {error!r}; publish it again with the same id")
        except Exception as error:  # a bug is not to end a lane: nobody would be told, and nothing more be sent
            log.exception("a bug in sending", partition=self._partition)
            return PublishError(f"not acknowledged: {error!r}; publish it again with the same id")
        return None

    def _settle(self, error: PublishError | None) -> None:
        sent, self._sent = self._sent, []
        self._count(len(sent))
        for countdown, records in Counter(sent).items():
            try:
                countdown(records, error)
            except Exception:  # what a callback raises is not to end a lane
                log.exception("a bug in who was told of acknowledged records")


class _Link:
    """The producer. One that has failed a batch is replaced: its sequence numbers may have a hole that no broker takes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: Any = None
        self._ready = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect.

        Raises:
            UnavailableError: Kafka does not answer.
        """
        producer = AIOKafkaProducer(
            **client_options(self._settings),
            acks="all",
            enable_idempotence=True,
            linger_ms=0,  # lanes linger
            max_batch_size=BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
            request_timeout_ms=30_000,
        )
        await start_client(producer)
        try:
            with unavailable_if_down():
                async with asyncio.timeout(METADATA_S):
                    await producer.partitions_for(self._settings.topic)
        except BaseException:
            await _stop(producer)
            raise
        self._producer = producer
        self._ready.set()

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        await _stop(self._producer)

    async def producer(self) -> Any:
        """Give the producer, when there is one that works."""
        await self._ready.wait()
        return self._producer

    def renew(self, failed: Any, error: Exception) -> None:
        """Replace a producer, once."""
        if failed is self._producer and self._ready.is_set():
            self._ready.clear()
            log.warning("producer replaced", error=repr(error))
            self._renewing = asyncio.create_task(self._renew(failed))

    async def _renew(self, failed: Any) -> None:
        await _stop(failed)
        while not self._ready.is_set():
            try:
                await self.open()
            except UnavailableError as error:
                log.warning("waiting", part="kafka", error=str(error))
                await asyncio.sleep(RENEW_EVERY_S)
            except Exception:
                log.exception("a bug in connecting")
                await asyncio.sleep(RENEW_EVERY_S)


async def _stop(producer: Any) -> None:
    """Stop a producer, whatever its state. What it still holds would never be acknowledged."""
    try:
        await stop_producer(producer, STOP_S)
    except Exception:  # it is given up either way
        log.exception("a bug in stopping a producer")
