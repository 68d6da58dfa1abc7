"""Reading stretches of the log outside a consumer group: for the audit, a proof, a rebuild."""

from collections.abc import AsyncIterator, Mapping

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from pipeline.domain.batch import RecordBatch
from pipeline.errors import LogTruncatedError, UnavailableError
from pipeline.log.connection import client_options, unavailable_if_down
from pipeline.log.fetched import next_batches
from pipeline.settings import Settings

FETCH_BYTES = 4 << 20
SILENCE_S = 30.0  # records that were there when somebody asked come sooner


async def read_ranges(settings: Settings, ranges: Mapping[int, tuple[int, int]]) -> AsyncIterator[RecordBatch]:
    """Give the records of each partition's range (first offset, next offset), in order within each partition.

    Raises:
        UnavailableError: Kafka does not answer, or sends nothing more.
        LogTruncatedError: the begin of a range is not in the log any more.
    """
    open_ends = {partition: end for partition, (first, end) in ranges.items() if first < end}
    consumer = AIOKafkaConsumer(
        **client_options(settings), group_id=None, auto_offset_reset="none", max_partition_fetch_bytes=FETCH_BYTES
    )
    with unavailable_if_down():
        await consumer.start()
    try:
        tps = {TopicPartition(settings.topic, partition) for partition in open_ends}
        consumer.assign(list(tps))
        for tp in tps:
            consumer.seek(tp, ranges[tp.partition][0])
        await _check(consumer, ranges, tps)
        while open_ends:
            with unavailable_if_down():
                fetched = await next_batches(consumer._fetcher, tps, SILENCE_S)  # noqa: SLF001  # see pipeline.log.fetched
            if not fetched:
                raise UnavailableError(f"Kafka sent nothing of partitions {sorted(open_ends)} for {SILENCE_S:.0f} s")
            for tp, batches in fetched.items():
                for batch in batches:
                    records = batch.read()
                    end = open_ends.get(tp.partition, 0)
                    if records.first_offset < end:
                        yield records.until(end)
                    if records.next_offset >= end and open_ends.pop(tp.partition, None) is not None:
                        consumer.pause(tp)
                        tps = tps - {tp}
    finally:
        await consumer.stop()


async def _check(consumer: AIOKafkaConsumer, ranges: Mapping[int, tuple[int, int]], tps: set[TopicPartition]) -> None:
    if not tps:
        return
    with unavailable_if_down():
        begins = await consumer.beginning_offsets(list(tps))
    for tp, begin in begins.items():
        if ranges[tp.partition][0] < begin:
            raise LogTruncatedError(
                f"the log of partition {tp.partition} begins at {begin}: retention has deleted what lies before it"
            )
