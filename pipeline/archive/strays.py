"""What counted more often than it may because it came in several partitions: the rules look at one partition at a time.

A voter's votes meet in one partition if every publisher partitions by murmur2 of the key. These questions find out, over
all partitions, whether one did not.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.archive.recount import Recount, rows_of
from pipeline.domain.poll import PollId
from pipeline.settings import Settings

MOST = 1_000  # voters looked at singly; the first of them are proof enough

_VOTERS = """
WITH transform(partition, {partitions:Array(UInt32)}, {cuts:Array(UInt64)}, toUInt64(0)) AS cut
SELECT key
FROM votes_log
WHERE topic = {topic:String} AND isNotNull(key) AND offset < cut AND position(assumeNotNull(key), '/') = 0
GROUP BY key
HAVING uniqExact(partition) > 1
ORDER BY key
LIMIT {most:UInt32}
"""

_COUNTED = """
WITH transform(partition, {partitions:Array(UInt32)}, {cuts:Array(UInt64)}, toUInt64(0)) AS cut
SELECT voter_id, count() AS votes, arraySort(groupUniqArray(partition))
FROM vote_outcomes
WHERE topic = {topic:String} AND show_id = {show:String} AND poll_id = {poll:String} AND outcome = 'counted'
  AND offset < cut AND voter_id IN {voters:Array(String)}
GROUP BY voter_id
HAVING votes > {allowed:UInt32}
ORDER BY voter_id
"""


@dataclass(frozen=True)
class CountedTooOften:
    """A voter, or a vote id."""

    what: str
    name: str
    counted: int
    allowed: int
    partitions: tuple[int, ...]


async def voters_in_several_partitions(
    settings: Settings, poll_id: PollId, before: Mapping[int, int], allowed: int
) -> list[CountedTooOften]:
    """Find voters with more than the allowed votes over all partitions.

    Raises:
        UnavailableError: ClickHouse does not answer.
    """
    cut = {"partitions": list(before), "cuts": list(before.values())}
    (voters,) = await asyncio.to_thread(rows_of, settings, [(_VOTERS, {**cut, "most": MOST})])
    if not voters:
        return []
    names = {"show": poll_id.show_id, "poll": poll_id.poll_id, "allowed": allowed}
    names_of = {"voters": [voter for (voter,) in voters]}
    (rows,) = await asyncio.to_thread(rows_of, settings, [(_COUNTED, {**cut, **names, **names_of})])
    return [CountedTooOften("voter", voter, votes, allowed, tuple(partitions)) for voter, votes, partitions in rows]


def votes_in_several_partitions(recount: Recount) -> list[CountedTooOften]:
    """Find vote ids that counted in more than one partition, in a recount that was asked for them."""
    ids = [_unique(each.vote_ids) for each in recount.partitions]
    everything = pa.concat_arrays(ids) if ids else pa.array([], pa.binary(32))
    if pc.count_distinct(everything).as_py() == len(everything):
        return []
    repeated = [each["values"] for each in everything.value_counts().to_pylist() if each["counts"] > 1]
    return [
        CountedTooOften("vote", _uuid(vote_id), len(where), 1, tuple(where))
        for vote_id in sorted(repeated)
        if (where := _partitions_with(recount, vote_id))
    ]


def _unique(vote_ids: Sequence[str]) -> pa.Array:
    """Make an array of the ids of a partition: with a horizon, the same one may count there again, within the limit."""
    joined = "".join(vote_ids).encode()
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(joined) // 32, [None, pa.py_buffer(joined)]).unique()


def _partitions_with(recount: Recount, vote_id: bytes) -> list[int]:
    text = vote_id.decode()
    return [each.partition for each in recount.partitions if any(_holds(ids, text) for ids in each.vote_ids)]


def _holds(ids: str, text: str) -> bool:
    place = ids.find(text)
    while place % 32 and place >= 0:  # across two ids it is none
        place = ids.find(text, place + 1)
    return place >= 0


def _uuid(vote_id: bytes) -> str:
    text = vote_id.decode().lower()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
