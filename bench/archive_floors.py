"""What the archive is measured against: the same ClickHouse without Kafka, and the loop that one would write first."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from pipeline.archive.block import block_of
from pipeline.archive.buffer import FlushBuffer, FlushPolicy
from pipeline.archive.connection import connect
from pipeline.archive.flush import Flush
from pipeline.archive.migrate import migrate
from pipeline.archive.store import ONE_BLOCK
from pipeline.domain.batch import RecordBatch
from pipeline.log.connection import client_options
from pipeline.settings import Settings

_PLAIN_TABLE = (
    "CREATE TABLE plain (partition UInt32, offset UInt64, append_time Int64, vote_id UUID, show_id String, "
    "poll_id String, option_id String, voter_id String, cast_at Int64, edge_id String, channel String) "
    "ENGINE = MergeTree ORDER BY (partition, offset)"
)
_COLUMNS = ("vote_id", "show_id", "poll_id", "option_id", "voter_id", "cast_at", "edge_id", "channel")


async def ready_blocks(found: Settings, records: int, when: str) -> float:
    """Give the rows/s at which ClickHouse takes Arrow blocks that are made before the clock starts.

    They are sent as one would: by the client's `insert_arrow`, one after the other. They go into a database of their own, which
    is dropped: its merges are not to go on while others are measured.
    """
    of_floor = found.model_copy(update={"clickhouse_database": f"{found.clickhouse_database}_{when}"})
    migrate(of_floor)
    blocks = [block_of(flush) for flush in await _flushes(found, records)]
    client = connect(of_floor)
    started = time.monotonic()
    for number, block in enumerate(blocks):
        await asyncio.to_thread(
            client.insert_arrow,
            "votes_log",
            block,
            settings={**ONE_BLOCK, "insert_deduplication_token": f"floor:{number}"},
        )
    seconds = time.monotonic() - started
    client.command(f"DROP DATABASE `{of_floor.clickhouse_database}` SYNC")
    client.close()
    return sum(int(block.num_rows) for block in blocks) / seconds


async def plain_loop(found: Settings, records: int) -> float:
    """Give the rows/s of a consumer that parses each vote and inserts rows."""
    client = connect(found)
    client.command(_PLAIN_TABLE)
    done, started = 0, time.monotonic()
    async with _consumer(found) as consumer:
        while done < records:
            rows = []
            for polled in (await consumer.getmany(timeout_ms=1000, max_records=50_000)).values():
                for record in polled:
                    vote = orjson.loads(record.value)
                    done += 1
                    if vote["type"] == "vote":
                        values = [vote[name] for name in _COLUMNS]
                        rows.append([record.partition, record.offset, record.timestamp, *values])
            if rows:
                names = ["partition", "offset", "append_time", *_COLUMNS]
                await asyncio.to_thread(client.insert, "plain", rows, column_names=names)
    seconds = time.monotonic() - started
    client.close()
    return done / seconds


async def _flushes(found: Settings, records: int) -> list[Flush]:
    """Read records in the form in which the archive collects them."""
    buffer, flushes, seen = FlushBuffer(FlushPolicy()), [], 0
    async with _consumer(found) as consumer:
        while seen < records:
            for tp, polled in (await consumer.getmany(timeout_ms=1000)).items():
                seen += len(polled)
                buffer.add(_batch(tp, polled), 0)
                if buffer.rows >= buffer.policy.max_rows or seen >= records:
                    flush = buffer.take()
                    flushes += [flush] if flush is not None else []
    return flushes


def _batch(tp: TopicPartition, polled: list[Any]) -> RecordBatch:
    return RecordBatch.of(
        tp.topic,
        tp.partition,
        polled[0].offset,
        [record.timestamp for record in polled],
        [record.key for record in polled],
        [record.value for record in polled],
        [record.headers for record in polled],
    )


@contextlib.asynccontextmanager
async def _consumer(found: Settings) -> AsyncIterator[Any]:
    """Read all partitions from their begin, without a group."""
    consumer = AIOKafkaConsumer(**client_options(found), auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(found.topic, partition) for partition in range(found.partitions)])
        yield consumer
    finally:
        await consumer.stop()
