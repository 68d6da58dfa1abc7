"""What counted more often than it may because it came in several partitions: the rules look at one partition at a time.

A voter's votes meet in one partition if every publisher partitions by murmur2 of the key. These questions find out, over
all partitions, whether one did not.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.archive.recount import GROUP_ROWS, HELD, ROW_BYTES, Recount, groups_of, rows_of
from pipeline.domain.poll import PollId
from pipeline.settings import Settings

MOST = 1_000  # voters looked at in one go; and when so many are found, they are proof enough
SPILL_BYTES = GROUP_ROWS * ROW_BYTES  # of keys that ClickHouse groups: what is more goes to its disk

_CUT = "transform(partition, {partitions:Array(UInt32)}, {cuts:Array(UInt64)}, toUInt64(0))"
_POLL = "topic = {topic:String} AND show_id = {show:String} AND poll_id = {poll:String}"

# Read from the keys alone, as values cost much more, and hardly ever is there any. What has a slash is the key of a marker.
_ANY_SPREAD = f"""
SELECT key
FROM votes_log
WHERE topic = {{topic:String}} AND isNotNull(key) AND position(assumeNotNull(key), '/') = 0 AND offset < {_CUT}
GROUP BY key HAVING min(partition) != max(partition)
LIMIT 1
SETTINGS max_bytes_before_external_group_by = {SPILL_BYTES}
"""  # noqa: S608  # of our own text, as all here

# Who has sent no more votes for the poll than may count has no more counted.
_VOTERS = f"""
SELECT voter_id, groupUniqArray(partition)
FROM typed_log
WHERE kind = 'vote' AND {_POLL} AND offset < {_CUT} AND voter_id > {{after:String}}
GROUP BY voter_id HAVING min(partition) != max(partition) AND count() > {{allowed:UInt32}}
ORDER BY voter_id LIMIT {{most:UInt32}}
SETTINGS max_bytes_before_external_group_by = {SPILL_BYTES}
"""  # noqa: S608

_COUNTED = f"""
SELECT voter_id, partition, count()
FROM vote_outcomes
WHERE {_POLL} AND partition IN {{partitions:Array(UInt32)}} AND offset < {_CUT}
  AND outcome = 'counted' AND voter_id IN {{voters:Array(String)}}
GROUP BY voter_id, partition
"""  # noqa: S608


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
    """Find voters with more than the allowed votes over all partitions, in order; of very many the first, ``MOST`` or more.

    Raises:
        UnavailableError: ClickHouse does not answer.
    """
    return await asyncio.to_thread(_voters, settings, poll_id, before, allowed)


def _voters(settings: Settings, poll_id: PollId, before: Mapping[int, int], allowed: int) -> list[CountedTooOften]:
    cuts = {"partitions": list(before), "cuts": list(before.values())}
    spread, held = rows_of(settings, [(_ANY_SPREAD, cuts), (HELD, {})])
    found: list[CountedTooOften] = []
    names, after = {"show": poll_id.show_id, "poll": poll_id.poll_id}, ""
    while spread and len(found) < MOST:
        page = {**cuts, **names, "allowed": allowed, "after": after, "most": MOST}
        (voters,) = rows_of(settings, [(_VOTERS, page)])
        where = {partition for _, partitions in voters for partition in partitions}
        groups = groups_of([(partition, rows) for partition, rows in held if partition in where])
        asked = {**names, "voters": [voter for voter, _ in voters]}
        counted = _counted(
            settings, [{**asked, "partitions": group, "cuts": [before[each] for each in group]} for group in groups]
        )
        found += [
            CountedTooOften("voter", voter, votes, allowed, tuple(sorted(counted[voter])))
            for voter, _ in voters
            if (votes := counted[voter].total()) > allowed
        ]
        if len(voters) < MOST:
            break
        after = voters[-1][0]
    return found


def _counted(settings: Settings, groups: list[dict[str, Any]]) -> defaultdict[str, Counter[int]]:
    """Give each voter's counted votes by partition: no rule looks beyond one, so that groups of them are recounted in turn."""
    counted: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for voter, partition, votes in chain.from_iterable(rows_of(settings, [(_COUNTED, group) for group in groups])):
        counted[voter][partition] = votes
    return counted


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
