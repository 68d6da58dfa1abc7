"""What ClickHouse says of the stored records as such: how many, which are missing, their hashes.

The hashes are computed in SQL from the stored bytes; ``pipeline.audit.leaf`` says of what, and computes the same in Python.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.archive.recount import groups_of, rows_of
from pipeline.domain.batch import RecordBatch
from pipeline.domain.record import Vote, decode
from pipeline.settings import Settings

SHOWN_GAPS = 5

Range = tuple[int, int]  # first offset, next offset


@dataclass(frozen=True)
class StoredRange:
    """What the table holds of a range of a partition's offsets."""

    partition: int
    rows: int  # as stored: repeats that no merge has removed yet count
    distinct: int
    gaps: tuple[Range, ...]  # the first ones of the runs that are missing
    digest: bytes  # SHA-256 over the hashes of the records in the hashed range, in order


_HELD = """
WITH transform(partition, {partitions:Array(UInt32)}, {firsts:Array(UInt64)}, toUInt64(0)) AS first,
  transform(partition, {partitions:Array(UInt32)}, {nexts:Array(UInt64)}, toUInt64(0)) AS next
SELECT partition, count(), uniqExact(offset)
FROM votes_log
WHERE topic = {topic:String} AND partition IN {partitions:Array(UInt32)} AND offset >= first AND offset < next
GROUP BY partition
"""

_GAPS = """
SELECT previous + 1, offset
FROM
(
  SELECT offset, lagInFrame(toInt64(offset), 1, toInt64({first:UInt64}) - 1) OVER (
    ORDER BY offset ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS previous
  FROM
  (
    SELECT DISTINCT offset FROM votes_log
    WHERE topic = {topic:String} AND partition = {partition:UInt32} AND offset >= {first:UInt64} AND offset < {next:UInt64}
    UNION ALL
    SELECT {next:UInt64} AS offset
  )
)
WHERE toInt64(offset) > previous + 1
ORDER BY offset
LIMIT {most:UInt32}
"""

_LEAVES = """
WITH transform(partition, {partitions:Array(UInt32)}, {firsts:Array(UInt64)}, toUInt64(0)) AS first,
  transform(partition, {partitions:Array(UInt32)}, {nexts:Array(UInt64)}, toUInt64(0)) AS next
SELECT partition, offset, SHA256(concat(
  '\\0', toString(partition), ':', toString(offset), ':', toString(toUnixTimestamp64Milli(append_time)), ':',
  if(isNull(key), '-', concat(toString(length(assumeNotNull(key))), ':', assumeNotNull(key))), ':',
  if(isNull(value), '-', concat(toString(length(assumeNotNull(value))), ':', assumeNotNull(value))), ':',
  arrayStringConcat(arrayMap(
    header -> concat(toString(length(header.name)), ':', header.name,
      if(isNull(header.value), '-',
        concat(toString(length(assumeNotNull(header.value))), ':', assumeNotNull(header.value)))),
    headers)))) AS leaf
FROM votes_log FINAL
WHERE topic = {topic:String} AND partition IN {partitions:Array(UInt32)} AND offset >= first AND offset < next
ORDER BY partition, offset
"""

# Sorted in the array: what an inner ORDER BY promises to an aggregate function is not much. By way of hex digits, as a
# FixedString loses its zeros at the end where it becomes a String.
_DIGESTS = (
    "SELECT partition, "  # noqa: S608  # of our own text
    "SHA256(unhex(arrayStringConcat(arrayMap(pair -> hex(pair.2), arraySort(groupArray((offset, leaf))))))) "
    f"FROM ({_LEAVES}) GROUP BY partition"
)

_OUTCOME = """
SELECT outcome FROM vote_outcomes WHERE topic = {topic:String} AND partition = {p:UInt32} AND offset = {o:UInt64}
"""


async def stored_ranges(
    settings: Settings, ranges: Mapping[int, Range], hashed: Mapping[int, Range]
) -> dict[int, StoredRange]:
    """Say what is stored of each partition's range, with the digest of another one (what the log still has of it).

    Raises:
        UnavailableError: ClickHouse does not answer.
    """
    return await asyncio.to_thread(_stored_ranges, settings, ranges, hashed)


async def leaves(settings: Settings, partition: int, wanted: Range) -> list[bytes]:
    """Give the hashes of a partition's stored records, in order.

    Raises:
        UnavailableError: ClickHouse does not answer.
    """
    (rows,) = await asyncio.to_thread(rows_of, settings, [(_LEAVES, _of({partition: wanted}))])
    return [bytes(leaf) for _, _, leaf in rows]


async def records_at(settings: Settings, partition: int, wanted: Range) -> RecordBatch:
    """Read stored records back, byte for byte, as far as they follow each other from the first offset on.

    Raises:
        UnavailableError: ClickHouse does not answer.
    """
    sql = (
        "SELECT offset, toUnixTimestamp64Milli(append_time), "
        "key IS NULL, hex(assumeNotNull(key)), value IS NULL, hex(assumeNotNull(value)), "
        "arrayMap(header -> (hex(header.name), header.value IS NULL, hex(assumeNotNull(header.value))), headers) "
        "FROM votes_log FINAL WHERE topic = {topic:String} AND partition = {partition:UInt32} "
        "AND offset >= {first:UInt64} AND offset < {next:UInt64} ORDER BY offset"
    )
    range_of = {"partition": partition, "first": wanted[0], "next": wanted[1]}
    (rows,) = await asyncio.to_thread(rows_of, settings, [(sql, range_of)])
    dense = [row for position, row in enumerate(rows, wanted[0]) if row[0] == position]
    return RecordBatch.of(
        settings.topic,
        partition,
        wanted[0],
        [row[1] for row in dense],
        [None if row[2] else bytes.fromhex(row[3]) for row in dense],
        [None if row[4] else bytes.fromhex(row[5]) for row in dense],
        [
            tuple(
                (bytes.fromhex(name).decode(), None if is_null else bytes.fromhex(text))
                for name, is_null, text in row[6]
            )
            for row in dense
        ],
    )


@dataclass(frozen=True)
class Appearance:
    """One record that carries a vote id, and what SQL makes of it."""

    partition: int
    offset: int
    outcome: str
    vote: Vote


async def appearances(settings: Settings, show_id: str, poll_id: str, vote_id: str) -> list[Appearance]:
    """Find every record of a poll with a vote id, and its outcome.

    Raises:
        UnavailableError: ClickHouse does not answer.
    """
    where = "topic = {topic:String} AND show_id = {show:String} AND poll_id = {poll:String} AND vote_id = {vote:UUID}"
    names = {"show": show_id, "poll": poll_id, "vote": vote_id}
    places = f"SELECT partition, offset FROM typed_log WHERE kind = 'vote' AND {where} ORDER BY partition, offset"  # noqa: S608
    ((*found,),) = await asyncio.to_thread(rows_of, settings, [(places, names)])
    result = []
    for partition, offset in found:
        ((row,),) = await asyncio.to_thread(rows_of, settings, [(_OUTCOME, {"p": partition, "o": offset})])
        batch = await records_at(settings, partition, (offset, offset + 1))
        (vote,) = map(decode, batch.values)
        if isinstance(vote, Vote):
            result.append(Appearance(partition, offset, row[0], vote))
    return result


def _stored_ranges(
    settings: Settings, ranges: Mapping[int, Range], hashed: Mapping[int, Range]
) -> dict[int, StoredRange]:
    held, *digests = rows_of(
        settings,
        [
            (_HELD, _of(ranges)),
            *((_DIGESTS, _of({each: hashed[each] for each in group})) for group in groups_of(_sizes(hashed))),
        ],
    )
    counts = {partition: (rows, distinct) for partition, rows, distinct in held}
    digest_of = {partition: bytes(digest) for rows in digests for partition, digest in rows}
    found = {}
    for partition, wanted in ranges.items():
        rows, distinct = counts.get(partition, (0, 0))
        gaps: list[Range] = []
        if distinct != wanted[1] - wanted[0]:
            names = {"partition": partition, "first": wanted[0], "next": wanted[1], "most": SHOWN_GAPS}
            gaps = [(first, behind) for first, behind in rows_of(settings, [(_GAPS, names)])[0]]
        digest = digest_of.get(partition, hashlib.sha256().digest())
        found[partition] = StoredRange(partition, rows, distinct, tuple(gaps), digest)
    return found


def _sizes(ranges: Mapping[int, Range]) -> list[tuple[int, int]]:
    return [(partition, behind - first) for partition, (first, behind) in ranges.items()]


def _of(ranges: Mapping[int, Range]) -> dict[str, list[int]]:
    return {
        "partitions": list(ranges),
        "firsts": [first for first, _ in ranges.values()],
        "nexts": [behind for _, behind in ranges.values()],
    }
