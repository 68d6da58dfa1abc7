"""What a fetch brought of one partition, still as the broker's bytes.

aiokafka makes one Python object per record, which is more than half of the cost of a plain consumer. Here a response is
taken apart only as far as its record batches (for position and checksum); the columns are read when they are folded.
aiokafka's reader does not show its bytes, so a subclass in its place keeps them.
"""

import asyncio
from collections.abc import Collection
from itertools import pairwise
from typing import Any

from aiokafka.consumer import fetcher as aiokafka_fetcher
from aiokafka.consumer.fetcher import Fetcher, FetchError, FetchResult
from aiokafka.errors import KafkaError
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from pipeline.domain.batch import RecordBatch
from pipeline.errors import LogNotDenseError
from pipeline.log.record_format import Block, blocks_of, read_records


class KeptRecords(MemoryRecords):  # type: ignore[misc]
    """A partition's share of a response, as aiokafka has it; and its bytes."""

    def __init__(self, response: bytes) -> None:
        super().__init__(response)
        self.response = response


# Where a fetcher makes it. aiokafka is pinned, and a test holds it to this.
aiokafka_fetcher.MemoryRecords = KeptRecords


class FetchedBatch:
    """Records `first_offset` to before `next_offset` of one partition, as fetched.

    `nbytes` is the size of the response's share, compressed as it came.
    """

    __slots__ = ("__weakref__", "_blocks", "first_offset", "nbytes", "next_offset", "tp")

    def __init__(self, tp: TopicPartition, first_offset: int, blocks: list[Block], nbytes: int) -> None:
        self.tp = tp
        self.first_offset = first_offset
        self.next_offset: int = blocks[-1].next_offset
        self.nbytes = nbytes
        self._blocks = blocks

    def read(self, *, with_headers: bool = True) -> RecordBatch:
        """Read the records into columns, those of headers empty if they are not asked for. Can be called once.

        Raises:
            LogNotDenseError: there are holes between offsets, also in a block's part before `first_offset`, so that no
                count of them could be proven.
            aiokafka.errors.CorruptRecordException: a record is not what Kafka's format says.
        """
        blocks, self._blocks = self._blocks, []  # the columns take their place in memory
        if any(block.is_of_transaction for block in blocks):
            raise LogNotDenseError(f"{self.tp}: transactions on this topic; Airtally's log takes none")
        base = blocks[0].base_offset
        ends = [min(base, self.first_offset), *(block.next_offset for block in blocks)]
        if [(block.base_offset, block.base_offset + block.size) for block in blocks] != list(pairwise(ends)):
            raise LogNotDenseError(
                f"{self.tp}: {sum(block.size for block in blocks)} records in offsets {ends[0]} to {ends[-1] - 1}; "
                "the topic must not be compacted"
            )
        records = read_records(blocks, with_headers=with_headers)
        whole = RecordBatch(
            self.tp.topic, self.tp.partition, base, records.append_times, records.keys, records.values, records.headers
        )
        return whole.since(self.first_offset)  # a broker sends whole blocks, also from their middle


async def next_batches(
    fetcher: Fetcher, partitions: Collection[TopicPartition], timeout_s: float
) -> dict[TopicPartition, list[FetchedBatch]]:
    """Take what has been fetched of some partitions, waiting for it at most once.

    Raises:
        aiokafka.errors.KafkaError: the fetch of a partition failed for good.
    """
    subscriptions = fetcher._subscriptions  # noqa: SLF001  # aiokafka is pinned; this module is its adapter
    if subscriptions.reassignment_in_progress:
        await subscriptions.wait_for_assignment()
    batches = _take_all(fetcher, partitions)
    if batches:
        return batches
    waiter = fetcher._create_fetch_waiter()  # noqa: SLF001
    try:
        async with asyncio.timeout(timeout_s):
            await waiter
    except TimeoutError:
        return {}
    return _take_all(fetcher, partitions)


def position_of(consumer: Any, tp: TopicPartition) -> int | None:
    """Give the offset after what was taken of a partition; None: it is not assigned, or has no position yet."""
    subscription = consumer._subscription.subscription  # noqa: SLF001
    assignment = subscription and subscription.assignment
    if assignment is None or tp not in assignment.tps:
        return None
    state = assignment.state_value(tp)
    return int(state.position) if state.has_valid_position else None


def _take_all(fetcher: Fetcher, partitions: Collection[TopicPartition]) -> dict[TopicPartition, list[FetchedBatch]]:
    batches: dict[TopicPartition, list[FetchedBatch]] = {}
    fetched = fetcher._records  # noqa: SLF001
    for tp in list(fetched):
        if tp not in partitions:
            if not fetcher._subscriptions.is_assigned(tp):  # noqa: SLF001
                del fetched[tp]
            continue
        try:
            batch = _take(fetched[tp], tp)
        except KafkaError:
            if batches:
                continue  # it is raised when nothing was taken: what was would be lost with it
            _make_room(fetcher, tp)
            raise
        _make_room(fetcher, tp)
        if batch is not None:
            batches[tp] = [batch]
    return batches


def _make_room(fetcher: Fetcher, tp: TopicPartition) -> None:
    """Let go of a partition's response, so that the next one can come."""
    del fetcher._records[tp]  # noqa: SLF001
    fetcher._notify(fetcher._wait_consume_future)  # noqa: SLF001


def _take(result: FetchResult | FetchError, tp: TopicPartition) -> FetchedBatch | None:
    """Take a whole response of a partition and move the consumer's position behind it.

    Raises:
        aiokafka.errors.KafkaError: the fetch failed, or what came is corrupt; the position is where it was.
    """
    if isinstance(result, FetchError):
        result.check_raise()
    if not result.has_more() or not result.check_assignment(tp):
        return None
    fetched = result._partition_records  # noqa: SLF001
    response = fetched._records.response  # noqa: SLF001
    blocks = [block for block in blocks_of(response) if block.next_offset > fetched.next_fetch_offset]
    if not blocks:
        return None
    first_offset, fetched.next_fetch_offset = fetched.next_fetch_offset, blocks[-1].next_offset
    result._update_position()  # noqa: SLF001
    # aiokafka's own iterator, which nobody needs here, and its owner hold each other: without this cut the response stays in
    # memory until the garbage collector comes by, and what is held is many times what the backlog allows.
    fetched._records_iterator = None  # noqa: SLF001
    return FetchedBatch(tp, first_offset, blocks, len(response))
