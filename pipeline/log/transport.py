"""A Faust transport whose messages are whole partition batches: broker URL `kafka-batch://host:port`.

Stock Faust spends one asyncio hop, one event and one acknowledgement on every record. This transport makes one message
of each fetched partition batch, its value a ``FetchedBatch``, its offset the batch's last. Everything else of Faust
stays: group membership, agents, timers, the worker, its monitor. Use it with ``BatchSchema`` on the topic::

    app = faust.App("counter", broker="kafka-batch://127.0.0.1:9092")
    votes = app.topic("votes", schema=BatchSchema())

    @app.agent(votes)
    async def count(stream):
        async for event in stream.noack().events():
            print(len(event.value.read()))
            event.ack()

Three rules of Faust's bookkeeping do not hold here, each for a reason given where it is overridden: the filter of read
offsets, the gap list, and the pausing of single partitions when a buffer of *n* messages is full.
"""

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any, ClassVar

import faust
from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from pipeline.log.ending import STOPPED_WITHIN_S, end_within
from pipeline.log.fetched import FetchedBatch, next_batches, position_of

ROOM_WAIT_S = 1.0  # how long a fetch waits for room before it gives Faust's loop a turn
TURN_S = (
    0.1  # how long the consumer's thread waits for records before it looks at what else it was asked (commit, seek)
)
BROKER_WAIT_MS = 250  # how long the broker holds a fetch without records: a seek in an idle log waits as long
DEFAULT_RESPONSE_BYTES = 16 << 20
DEFAULT_BACKLOG_BYTES = 64 << 20

Positions = Callable[[Collection[TP]], Awaitable[Mapping[TP, int]]]


class Backlog:
    """The bytes that were fetched and are still held by somebody, and a door that closes when they are too many.

    A batch counts until it is garbage: nobody has to give anything back, whatever path it took (applied, dropped by a
    rebalance, lost in an error). The door closes at `limit_bytes` and opens again at half of it. Garbage that is in a cycle,
    as what a cancelled task leaves, is looked for when the door stays closed: else it would stay so.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    def hold(self, batch: FetchedBatch) -> None:
        """Count a batch as long as it lives."""
        self.held_bytes += batch.nbytes
        if self.held_bytes >= self.limit_bytes:
            self._room.clear()
        weakref.finalize(batch, self._release, batch.nbytes).atexit = False

    def _release(self, nbytes: int) -> None:
        self.held_bytes -= nbytes
        if self.held_bytes <= self.limit_bytes // 2:
            self._room.set()

    async def has_room(self, timeout_s: float) -> bool:
        """Wait a bounded time for room."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._room.wait()
        except TimeoutError:
            gc.collect()
            return self._room.is_set()
        return True


class BatchApp(faust.App):
    """A Faust app on this transport.

    Attributes:
        positions: asked at each assignment for the offset to read on from; None, or a partition that is missing in
            its answer, means Kafka's committed offset.
        backlog_bytes: how much may be fetched and not yet let go of.
        response_bytes: how much a broker may answer at once, of all partitions. It is in memory up to three times meanwhile.
    """

    positions: Positions | None = None
    backlog_bytes: int = DEFAULT_BACKLOG_BYTES
    response_bytes: int = DEFAULT_RESPONSE_BYTES
    ending: threading.Timer | None = None  # of the process, once the app has crashed

    async def crash(self, reason: BaseException) -> None:
        """Stop everything. If that does not come to an end, the process does."""
        self.ending = self.ending or end_within(STOPPED_WITHIN_S, reason)
        await super().crash(reason)

    def _create_directories(self) -> None:
        """Make no folder: without Faust's tables there is nothing to keep in one."""


class _ReadOffsets(dict[TP, int | None]):
    """Faust's filter of messages below the last read offset, turned off.

    The ledger's compare-and-set is the filter; this one would drop what is read again after a rewind, since a message on
    its way while ``seek`` ran moves the mark forward again.
    """

    def __getitem__(self, tp: TP) -> int | None:
        return None


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Fetches batches instead of records."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = BROKER_WAIT_MS  # noqa: SLF001  # Faust has no setting for these two
        consumer._fetch_max_bytes = getattr(transport.app, "response_bytes", DEFAULT_RESPONSE_BYTES)  # noqa: SLF001
        return consumer

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Collection[TP],
        timeout: float | None = None,  # noqa: ASYNC109  # Faust's signature
        max_records: int | None = None,  # noqa: ARG002
    ) -> Mapping[TP, list[FetchedBatch]]:
        if not self.consumer.flow_active:
            return {}
        fetcher = consumer._fetcher  # noqa: SLF001
        if consumer._closed or fetcher._closed:  # noqa: SLF001
            raise ConsumerStoppedError
        with fetcher._subscriptions.fetch_context():  # noqa: SLF001
            return await next_batches(fetcher, active_partitions, min(timeout or 0.0, TURN_S))


class Consumer(driver.Consumer):
    """One message per fetched partition batch, bounded by bytes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _ReadOffsets()
        self.backlog = Backlog(getattr(self.app, "backlog_bytes", DEFAULT_BACKLOG_BYTES))

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def position_now(self, tp: TP) -> int | None:
        """Give the offset to fetch next, without waiting for it as ``position`` does; None: it is not known."""
        return position_of(self._thread._ensure_consumer(), tp)  # noqa: SLF001

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, list[FetchedBatch]]:  # noqa: ASYNC109
        if not await self.backlog.has_room(ROOM_WAIT_S):
            return {}
        batches: Mapping[TP, list[FetchedBatch]] = await super()._getmany(active_partitions, timeout)
        for batch in _flatten(batches):
            self.backlog.hold(batch)
        return batches

    def _to_message(self, tp: TP, record: FetchedBatch) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.next_offset - 1,
            0.0,  # each record has its own time
            1,
            (),
            None,
            record,
            None,
            0,
            record.nbytes,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def _new_offset(self, tp: TP) -> int | None:
        """Give the offset to commit: batches are acknowledged in order, so it is the one after the last of them.

        Faust would look for holes in the list of acknowledged offsets, of which ours is full: one per batch.
        """
        acked = self._acked[tp]
        if not acked:
            return None
        last: int = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return last + 1

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: offsets between two batches' last ones are their records, not gaps."""

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek to where the app's view of the log ends, else to Kafka's committed offsets."""
        committed = dict(await super().seek_to_committed())
        positions = getattr(self.app, "positions", None)
        if positions is not None:
            wanted = dict(await positions(self.assignment()))
            if wanted:
                await self.seek_wait(wanted)
            committed |= wanted
        return committed


def _flatten(batches: Mapping[TP, list[FetchedBatch]]) -> Iterator[FetchedBatch]:
    for of_partition in batches.values():
        yield from of_partition


class Transport(driver.Transport):
    """Registered as `kafka-batch` in the entry-point group ``faust.transports``."""

    Consumer: ClassVar[type[Consumer]] = Consumer


class BatchSchema(faust.Schema):
    """Hands a message's value to the agent as it is: there is nothing to decode in a batch of raw records."""

    def compile(self, app: Any, **_kwargs: Any) -> Callable[..., Awaitable[Any]]:
        """Give the function by which Faust makes an event of a message."""
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:  # noqa: ARG001
            return create_event(None, message.value, headers=None, message=message)

        return decode
