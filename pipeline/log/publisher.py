"""The publisher: idempotent, acknowledged by all in-sync replicas, keyed by voter.

Kafka's idempotence covers a producer's own retries. It does not span a restart of the producer or a retry from outside:
for those a vote keeps its ``vote_id``, and the fold counts it once.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from pipeline.domain.record import Marker, Vote, encode
from pipeline.errors import PublishError
from pipeline.log.connection import client_options, start_client, stop_producer
from pipeline.log.partitioner import java_partition
from pipeline.settings import Settings

KeyValue = tuple[bytes | None, bytes | None]

MAX_REQUEST_BYTES = 2 << 20  # as the topic's max.message.bytes
BATCH_BYTES = 256 << 10

# aiokafka's idempotent producer never gives a batch up, so that its caller would wait as long as too few replicas are left.
# Whoever publishes must hear of it: what is late may still arrive, and is safe to publish again.
ACKNOWLEDGED_WITHIN_S = 30.0


class Prepared(NamedTuple):
    """Records of a partition, ready to be sent."""

    partition: int
    batch: BatchBuilder


partition_of = lru_cache(maxsize=1 << 20)(java_partition)  # simulated voters come again and again


class Publisher:
    """Publishes votes and markers. Use it as an asynchronous context manager.

    What publishes returns when Kafka has acknowledged, and raises ``PublishError`` when it did not: the record may then
    be in the log or not, and is safe to publish again (a vote with the same id, a marker unchanged).
    """

    def __init__(
        self, settings: Settings, *, linger_ms: int = 5, acknowledged_within_s: float = ACKNOWLEDGED_WITHIN_S
    ) -> None:
        self._topic = settings.topic
        self._partitions = settings.partitions
        self._within_s = acknowledged_within_s
        self._producer = AIOKafkaProducer(
            **client_options(settings),
            acks="all",
            enable_idempotence=True,
            linger_ms=linger_ms,
            max_batch_size=BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
            request_timeout_ms=30_000,
        )

    async def __aenter__(self) -> Self:
        await start_client(self._producer)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Wait for what is under way, but no longer than for an acknowledgement."""
        await stop_producer(self._producer, self._within_s)

    async def publish_vote(self, vote: Vote) -> tuple[int, int]:
        """Publish one vote; give its partition and offset."""
        key = vote.voter_id.encode()
        return await self.publish(key, encode(vote))

    async def publish(self, key: bytes, value: bytes | None) -> tuple[int, int]:
        """Publish one record of any content; give its partition and offset."""
        partition = partition_of(key, self._partitions)
        (placed,) = await self._acknowledged(
            [self._producer.send_and_wait(self._topic, value, key=key, partition=partition)]
        )
        return placed.partition, placed.offset

    async def publish_marker(self, marker: Marker) -> dict[int, int]:
        """Publish a marker into every partition; give its offset in each.

        Raises:
            PublishError: some partitions did not acknowledge; publish the same marker again, it is idempotent.
        """
        key, value = f"{marker.show_id}/{marker.poll_id}".encode(), encode(marker)
        sent = await asyncio.gather(
            *[
                self._acknowledged([self._producer.send_and_wait(self._topic, value, key=key, partition=partition)])
                for partition in range(self._partitions)
            ],
            return_exceptions=True,
        )
        failed = {partition: answer for partition, answer in enumerate(sent) if isinstance(answer, BaseException)}
        if failed:
            raise PublishError(
                f"{value.decode()} was not acknowledged by partitions {sorted(failed)} ({next(iter(failed.values()))!r}): "
                "publish the same marker again"
            )
        return {
            placed.partition: placed.offset for each in sent if not isinstance(each, BaseException) for placed in each
        }

    async def publish_many(self, records: Iterable[KeyValue]) -> None:
        """Publish many records (key, value), in order within each partition.

        Raises:
            PublishError: some were not acknowledged; any of them may be in the log.
        """
        await (await self.enqueue_many(records))

    async def enqueue_many(self, records: Iterable[KeyValue]) -> Awaitable[None]:
        """Hand many records (key, value) to the producer; give what to await for their acknowledgement.

        It fills the producer's batches directly, at a small part of the cost of single records. What is enqueued by one
        call after the other is in that order within each partition. A record without a key goes to partition 0.

        Raises:
            PublishError: they were not accepted.
        """
        return await self.enqueue(self.prepare(records))

    def prepare(self, records: Iterable[KeyValue]) -> list[Prepared]:
        """Make of many records what ``enqueue`` takes: batches as they will be sent, as few as the records fit into.

        That is most of the work, so that whoever knows what to send can have it done before.
        """
        by_partition: defaultdict[int, list[KeyValue]] = defaultdict(list)
        partitions = self._partitions
        for record in records:
            key = record[0]
            by_partition[0 if key is None else partition_of(key, partitions)].append(record)
        return [each for partition, run in by_partition.items() for each in self._prepare(partition, run)]

    def _prepare(self, partition: int, run: Sequence[KeyValue]) -> Iterator[Prepared]:
        batch = self._producer.create_batch()
        for key, value in run:
            if batch.append(key=key, value=value, timestamp=None) is not None:
                continue
            yield Prepared(partition, batch)
            batch = self._producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)  # the first is taken, however large
        yield Prepared(partition, batch)

    async def enqueue(self, prepared: Iterable[Prepared]) -> Awaitable[None]:
        """Hand over what ``prepare`` made, once; give what to await for its acknowledgement.

        Raises:
            PublishError: it was not accepted.
        """
        waiting: list[Awaitable[Any]] = []
        try:
            for partition, batch in prepared:
                waiting.append(await self._producer.send_batch(batch, self._topic, partition=partition))
        except KafkaError as error:
            raise PublishError(f"not accepted: {error!r}; publish them again with the same ids") from error
        return self._all_acknowledged(waiting)

    async def _all_acknowledged(self, waiting: Sequence[Awaitable[Any]]) -> None:
        await self._acknowledged(waiting)

    async def _acknowledged(self, waiting: Sequence[Awaitable[Any]]) -> list[Any]:
        """Wait until all is acknowledged, but not for ever; give what the broker said of each.

        Raises:
            PublishError: something was not.
        """
        try:
            async with asyncio.timeout(self._within_s):
                return await asyncio.gather(*waiting)
        except KafkaError as error:
            raise PublishError(f"not acknowledged: {error!r}; publish again with the same ids") from error
        except TimeoutError:
            raise PublishError(
                f"not acknowledged within {self._within_s:.0f} s: too few in-sync replicas, or no broker at all? It may "
                "still arrive; publish again with the same ids"
            ) from None
