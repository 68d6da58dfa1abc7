"""A fetched batch, made by aiokafka's own builder, is read without holes or not at all."""

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition

from pipeline.errors import LogNotDenseError
from pipeline.log.connection import client_options
from pipeline.log.fetched import FetchedBatch, next_batches
from pipeline.log.publisher import Publisher
from pipeline.log.record_format import blocks_of
from pipeline.settings import Settings
from tests.workers import eventually

TP = TopicPartition("votes", 3)


def fetched(first_offset: int, *blocks: range, is_transactional: bool = False) -> FetchedBatch:
    """Make a batch of blocks with records at these offsets."""
    response = bytearray()
    for offsets in blocks:
        builder = DefaultRecordBatchBuilder(2, 0, int(is_transactional), 7, 0, 0, 1 << 20)
        for offset in offsets:
            headers = [("trace", b"%d" % offset)] if offset % 2 else []
            builder.append(offset - offsets[0], 1000 + offset, b"key-%d" % offset, b"value-%d" % offset, headers)
        written = bytearray(builder.build())
        written[:8] = offsets[0].to_bytes(8)  # a broker writes where its log ends; this is no part of the checksum
        response += written
    return FetchedBatch(TP, first_offset, blocks_of(bytes(response)), 0)


def test_blocks_are_read_one_after_the_other() -> None:
    batch = fetched(10, range(10, 13), range(13, 14), range(14, 20)).read()
    assert (batch.topic, batch.partition, batch.first_offset, batch.next_offset) == ("votes", 3, 10, 20)
    assert batch.append_times.tolist() == [1000 + offset for offset in range(10, 20)]
    assert batch.keys == [b"key-%d" % offset for offset in range(10, 20)]
    assert batch.values == [b"value-%d" % offset for offset in range(10, 20)]
    assert batch.headers[:2] == [(), [("trace", b"11")]]


def test_a_block_is_read_from_its_middle() -> None:
    batch = fetched(12, range(10, 15), range(15, 17)).read(with_headers=False)
    assert (batch.first_offset, batch.next_offset) == (12, 17)
    assert batch.values == [b"value-%d" % offset for offset in range(12, 17)]
    assert batch.headers == [()] * 5


@pytest.mark.parametrize(
    ("first_offset", "blocks"),
    [
        (10, (range(11, 13),)),
        (10, (range(10, 12), range(13, 15))),
        (10, (range(10, 15, 2),)),
        (12, (range(10, 15, 2),)),
        (10, (range(10, 12), range(12, 18, 2), range(18, 20))),
    ],
)
def test_holes_are_no_log(first_offset: int, blocks: tuple[range, ...]) -> None:
    with pytest.raises(LogNotDenseError, match="must not be compacted"):
        fetched(first_offset, *blocks).read()


def test_transactions_are_no_log() -> None:
    with pytest.raises(LogNotDenseError, match="takes none"):
        fetched(10, range(10, 12), is_transactional=True).read()


@pytest.mark.real
async def test_an_error_of_one_partition_takes_nothing_of_another_with_it(topic: Settings) -> None:
    async with Publisher(topic) as publisher:
        for each in range(topic.partitions):
            await (await publisher.enqueue(publisher._prepare(each, [(b"key", b"value")])))
    every = [TopicPartition(topic.topic, each) for each in range(topic.partitions)]
    broken = every[0]
    consumer = AIOKafkaConsumer(**client_options(topic), auto_offset_reset="none", enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(every)
        for tp in every:
            consumer.seek(tp, 999 if tp == broken else 0)
        fetched = consumer._fetcher._records

        async def all_have_come() -> bool:
            return len(fetched) == len(every)

        await eventually(all_have_come, "something of each partition")
        fetched[broken] = fetched.pop(broken)  # the last in turn
        batches = await next_batches(consumer._fetcher, every, 1.0)
        with pytest.raises(OffsetOutOfRangeError):
            await next_batches(consumer._fetcher, every, 1.0)
    finally:
        await consumer.stop()
    assert set(batches) == set(every[1:])
