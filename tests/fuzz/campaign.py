"""One campaign: records into Kafka, through the workers that run, and then both views of them compared."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from pipeline.archive.connection import connect
from pipeline.archive.recount import reached_records
from pipeline.archive.store import ArchiveStore
from pipeline.clock import now_ms
from pipeline.domain.batch import RecordBatch
from pipeline.ledger.reader import open_ledgers
from pipeline.log.offsets import LogOffsets
from pipeline.log.publisher import Publisher
from pipeline.settings import Settings
from tests.archive.counting import count_in_python
from tests.domain.reading import records_in

from .corpus import Corpus, openings

AT_ONCE = 5_000
STALL_S = 60.0  # a view that has not moved for so long never will

# partition -> (show, poll, what): records. Outcomes of the whole partition have no show and no poll.
View = dict[int, dict[tuple[str, str, str], int]]


async def publish(found: Settings, records: int, seed: int) -> None:
    """Open the polls in every partition, and publish the records of a seed."""
    corpus = Corpus(seed)
    async with Publisher(found) as publisher:
        for marker in openings(now_ms()):
            await publisher.publish_marker(marker)
        for start in range(0, records, AT_ONCE):
            await publisher.publish_many(corpus.records(min(AT_ONCE, records - start), now_ms()))


async def caught_up(found: Settings) -> int:
    """Wait until ledgers and archive have the whole log; give how many records that is.

    Raises:
        TimeoutError: one of them stands still.
    """
    store = ArchiveStore(found)
    async with open_ledgers(found) as ledgers, LogOffsets(found) as offsets:
        ends = await offsets.end()
        before, moved_at = (-1, -1), time.monotonic()
        while before != (sum(ends.values()),) * 2:
            reached = sum(head.next_offset for head in await ledgers.heads()), await reached_records(store, found)
            if reached != before:
                before, moved_at = reached, time.monotonic()
            elif time.monotonic() - moved_at > STALL_S:
                raise TimeoutError(f"tally and archive stand at {reached}, the log ends at {sum(ends.values())}")
            await asyncio.sleep(0.2)
    await store.close()
    return sum(ends.values())


async def in_redis(found: Settings) -> View:
    """Read every outcome and total from the ledgers."""
    async with open_ledgers(found) as ledgers:
        heads, polls = await ledgers.heads(), await ledgers.polls()
        readings = [(poll, reading) for poll in polls for reading in await ledgers.read(poll, windows=False)]
    view: View = {
        head.partition: {("", "", outcome): number for outcome, number in head.outcomes.items()} for head in heads
    }
    for poll, reading in readings:
        for what, numbers in (("", reading.outcomes), ("votes for ", reading.totals)):
            view[reading.partition] |= {(*poll, f"{what}{name}"): number for name, number in numbers.items() if number}
    assert all(
        sum(n for key, n in view[head.partition].items() if key[:2] == ("", "")) == head.next_offset for head in heads
    )
    return view


def in_sql(found: Settings) -> View:
    """Recount the same from the raw bytes."""
    view: View = {}
    sql = (
        "SELECT show_id, poll_id, poll_was_known, outcome, if(outcome = 'counted', option_id, ''), count() FROM vote_outcomes "
        "WHERE topic = {topic:String} AND partition = {partition:UInt32} GROUP BY ALL"
    )
    for partition in range(found.partitions):
        of_partition = view[partition] = {}
        for show, poll, was_known, outcome, option, number in _rows(found, sql, partition):
            keys = [("", "", outcome)]
            if was_known:
                keys += [(show, poll, outcome)] + ([(show, poll, f"votes for {option}")] if option else [])
            for key in keys:
                of_partition[key] = of_partition.get(key, 0) + number
    return view


def differences(found: Settings, redis: View, sql: View) -> Iterator[str]:
    """Name what the two do not agree on, and the first records behind it."""
    for partition in range(found.partitions):
        mine, theirs = redis.get(partition, {}), sql.get(partition, {})
        different = [key for key in sorted(mine.keys() | theirs.keys()) if mine.get(key) != theirs.get(key)]
        for key in different[:20]:
            yield f"partition {partition}, {key}: {mine.get(key)} in Redis, {theirs.get(key)} in SQL"
        if different:
            yield from _records_behind(found, partition)


def misread(found: Settings) -> Iterator[str]:
    """Name the values that the decoder and SQL take for different things."""
    sql = "SELECT value, kind::String FROM votes WHERE topic = {topic:String} AND partition = {partition:UInt32}"
    for partition in range(found.partitions):
        rows = _rows(found, sql, partition)
        for (value, kind), record in zip(rows, records_in([value for value, _ in rows]), strict=True):
            read = b"malformed" if record is None else str(type(record).__struct_config__.tag).encode()
            if read != kind:
                yield f"{value[:2000]!r} is {read!r} to Python, {kind!r} to SQL"


def _records_behind(found: Settings, partition: int) -> Iterator[str]:
    of_partition = "WHERE topic = {topic:String} AND partition = {partition:UInt32} ORDER BY offset"
    log = _rows(
        found, f"SELECT toUnixTimestamp64Milli(append_time), key, value FROM votes_log FINAL {of_partition}", partition
    )
    times, keys, values = zip(*log, strict=True)
    folded = count_in_python([RecordBatch.of(found.topic, partition, 0, times, keys, values, [()] * len(log))]).outcomes
    rows = _rows(found, f"SELECT offset, outcome::String FROM vote_outcomes {of_partition}", partition)
    wrong = [(offset, outcome) for offset, outcome in rows if folded[partition, offset] != outcome.decode()]
    for offset, outcome in wrong[:3]:
        yield f"  {offset}: {folded[partition, offset]} by the fold, {outcome!r} by SQL: {keys[offset]!r} {values[offset]!r}"


def _rows(found: Settings, sql: str, partition: int) -> list[Any]:
    client = connect(found)
    try:
        formats = {} if "GROUP BY" in sql else {"String": "bytes"}
        answer = client.query(sql, parameters={"topic": found.topic, "partition": partition}, query_formats=formats)
        return list(answer.result_rows)
    finally:
        client.close()
