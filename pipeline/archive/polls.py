"""A poll as SQL finds it in each partition's log, up to an offset: its rules, its markers, the voids in force."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.archive.recount import rows_of
from pipeline.domain.poll import PollId
from pipeline.settings import Settings

_POLLS = """
SELECT partition, opened_offset, opened_at_ms, option_ids, votes_per_voter, dedupe_horizon_ms,
  closed_offset, closed_at_ms, final_offset
FROM polls
WHERE topic = {topic:String} AND show_id = {show:String} AND poll_id = {poll:String}
ORDER BY partition
"""

_VOIDS = """
SELECT partition, void_id, voided_offset, reinstated_offset
FROM voids
WHERE topic = {topic:String} AND show_id = {show:String} AND poll_id = {poll:String}
ORDER BY partition, voided_offset
"""


@dataclass(frozen=True)
class StoredPoll:
    """A poll in one partition. Offsets are those of the markers that hold; instants are ms since the epoch."""

    opened_offset: int
    opened_at: int
    option_ids: tuple[str, ...]
    votes_per_voter: int
    dedupe_horizon_ms: int
    closed_offset: int | None
    closed_at: int | None
    final_offset: int | None
    voids_in_force: tuple[str, ...]


async def stored_polls(settings: Settings, poll_id: PollId, before: Mapping[int, int]) -> dict[int, StoredPoll]:
    """Read a poll from each partition that has it open before an offset.

    Raises:
        UnavailableError: ClickHouse does not answer.
    """
    names = {"show": poll_id.show_id, "poll": poll_id.poll_id}
    polls, voids = await asyncio.to_thread(rows_of, settings, [(_POLLS, names), (_VOIDS, names)])
    in_force: defaultdict[int, list[str]] = defaultdict(list)
    for partition, void_id, voided, reinstated in voids:
        cut = before.get(partition, 0)
        if voided < cut and (reinstated is None or reinstated >= cut):
            in_force[partition].append(void_id)
    found = {}
    for partition, opened, opened_at, option_ids, per_voter, horizon, closed, closed_at, final in polls:
        cut = before.get(partition, 0)
        if opened < cut:
            is_closed = closed is not None and closed < cut
            found[partition] = StoredPoll(
                opened,
                opened_at,
                tuple(option_ids),
                per_voter,
                horizon,
                closed if is_closed else None,
                closed_at if is_closed else None,
                final if final is not None and final < cut else None,
                tuple(in_force[partition]),
            )
    return found
