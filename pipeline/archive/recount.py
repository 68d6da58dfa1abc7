"""What ClickHouse recounts from raw bytes, read by a command. It shares no rule and no number with the tally."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from pipeline.archive.connection import connect, translated_errors
from pipeline.archive.store import ArchiveStore
from pipeline.domain.fold import Cell
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import PollId
from pipeline.settings import Settings

ROW_BYTES = 1_700  # of a row while the views sort it, some
GROUP_ROWS = 500_000  # recounted in one query

# Rows of each partition, for ``groups_of``.
HELD = "SELECT partition, count() FROM votes_log WHERE topic = {topic:String} GROUP BY partition ORDER BY partition"

_EVERYTHING = 2**64 - 1


@dataclass(frozen=True)
class PartitionRecount:
    """What a partition's records say of a poll, and of themselves."""

    partition: int
    outcomes: Counter[Outcome] = field(default_factory=Counter)  # of all records
    poll_outcomes: Counter[Outcome] = field(default_factory=Counter)  # of votes behind the poll's opening marker
    cells: Counter[Cell] = field(default_factory=Counter)  # counted votes
    struck: Counter[str] = field(default_factory=Counter)  # by option, those of them that meet a void in force
    vote_ids: list[str] = field(default_factory=list)  # of them, if asked for: 32 hex digits each, many in a text

    @property
    def totals(self) -> Counter[str]:
        """Counted votes by option."""
        return _totals(self.cells)


@dataclass(frozen=True)
class Recount:
    """The recount of a poll, and the outcomes of all records of the log."""

    option_ids: tuple[str, ...]
    partitions: tuple[PartitionRecount, ...]

    @property
    def totals(self) -> dict[str, int]:
        """Counted votes of every option, also without any."""
        return dict.fromkeys(self.option_ids, 0) | _totals(self.cells)

    @property
    def cells(self) -> Counter[Cell]:
        """Counted votes by option and second."""
        return _sum(each.cells for each in self.partitions)

    @property
    def struck(self) -> Counter[str]:
        """Votes by option that are deducted."""
        return _sum(each.struck for each in self.partitions)

    @property
    def poll_outcomes(self) -> Counter[Outcome]:
        """Outcomes of votes behind the poll's opening marker."""
        return _sum(each.poll_outcomes for each in self.partitions)

    @property
    def outcomes(self) -> Counter[Outcome]:
        """Outcomes of all records of the topic."""
        return _sum(each.outcomes for each in self.partitions)


async def recount(
    settings: Settings, poll_id: PollId, before: Mapping[int, int] | None = None, *, vote_ids: bool = False
) -> Recount:
    """Ask the views of ``schemas/clickhouse``.

    Args:
        settings: the archive and its topic.
        poll_id: the poll.
        before: for each partition that is wanted, the offset at which to stop; None: all there is.
        vote_ids: whether to fetch the ids of all counted votes.

    Raises:
        UnavailableError: ClickHouse does not answer.
    """
    return await asyncio.to_thread(_recount, settings, poll_id, before, vote_ids=vote_ids)


async def stored_records(settings: Settings) -> int:
    """Give how many records of the topic are stored, each once."""
    sql = "SELECT uniqExact(partition, offset) FROM votes_log WHERE topic = {topic:String}"
    return int((await asyncio.to_thread(rows_of, settings, [(sql, {})]))[0][0][0])


async def votes_by_edge(settings: Settings, poll_id: PollId) -> Counter[str]:
    """Give how many votes for a poll are stored of each edge, whether they count or not."""
    sql = (
        "SELECT edge_id, uniqExact(partition, offset) FROM typed_log WHERE topic = {topic:String} AND kind = 'vote' "
        "AND show_id = {show:String} AND poll_id = {poll:String} GROUP BY edge_id"
    )
    poll = {"show": poll_id.show_id, "poll": poll_id.poll_id}
    return Counter(dict((await asyncio.to_thread(rows_of, settings, [(sql, poll)]))[0]))


async def reached_records(store: ArchiveStore, settings: Settings) -> int:
    """Give how far the archive has come: the sum of the partitions' next offsets. Quick enough to ask often."""
    return sum((await store.next_offsets(settings.topic, range(settings.partitions))).values())


def _recount(settings: Settings, poll_id: PollId, before: Mapping[int, int] | None, *, vote_ids: bool) -> Recount:
    """Ask for all outcomes of some partitions at once, and add up.

    No rule looks beyond a partition, so that a log may be larger than ClickHouse's memory. What is of another poll, or
    does not count, is summed up there: its ids are whatever somebody sent.
    """
    options = (
        "SELECT DISTINCT arrayJoin(option_ids) FROM polls "
        "WHERE topic = {topic:String} AND show_id = {show:String} AND poll_id = {poll:String}"
    )
    voids = (
        "SELECT count() FROM voids WHERE topic = {topic:String} AND show_id = {show:String} AND poll_id = {poll:String}"
    )
    poll = {"show": poll_id.show_id, "poll": poll_id.poll_id, "ids": vote_ids}
    option_ids, partitions, number = rows_of(settings, [(options, poll), (HELD, {}), (voids, poll)])
    found = {
        partition: PartitionRecount(partition) for partition, _ in partitions if before is None or partition in before
    }
    groups = [
        {"partitions": group, "cuts": [_EVERYTHING if before is None else before[each] for each in group]}
        for group in groups_of([(partition, rows) for partition, rows in partitions if partition in found])
    ]
    for row in chain.from_iterable(rows_of(settings, [(_OUTCOMES, {**poll, **group}) for group in groups])):
        _add(found[row[0]], *row[1:])
    if number[0][0]:
        for partition, option_id, votes in chain.from_iterable(
            rows_of(settings, [(_STRUCK, {**poll, **group}) for group in groups])
        ):
            found[partition].struck[option_id] += votes
    return Recount(tuple(option_id for (option_id,) in option_ids), tuple(found.values()))


# Asked for are the records of a partition before its `cut`. A record's outcome hangs on those before it alone, so the recount
# of a prefix is the prefix of the recount.
_OUTCOMES = """
WITH transform(partition, {partitions:Array(UInt32)}, {cuts:Array(UInt64)}, toUInt64(0)) AS cut
SELECT
  partition,
  (show_id, poll_id) = ({show:String}, {poll:String}) AND poll_was_known AS here,
  outcome,
  if(here AND outcome = 'counted', option_id, '') AS option,
  if(here AND outcome = 'counted', window_start_ms, 0) AS second,
  count(),
  arrayStringConcat(groupArrayIf(hex(vote_id), {ids:Bool} AND here AND outcome = 'counted'))
FROM vote_outcomes
WHERE topic = {topic:String} AND partition IN {partitions:Array(UInt32)} AND offset < cut
GROUP BY partition, here, outcome, option, second
"""

_STRUCK = """
WITH transform(partition, {partitions:Array(UInt32)}, {cuts:Array(UInt64)}, toUInt64(0)) AS cut
SELECT partition, option_id, uniqExact(offset)
FROM voided_votes
WHERE topic = {topic:String} AND partition IN {partitions:Array(UInt32)}
  AND show_id = {show:String} AND poll_id = {poll:String}
  AND offset < cut AND voided_offset < cut AND NOT ifNull(reinstated_offset < cut, false)
GROUP BY partition, option_id
"""


def _add(found: PartitionRecount, here: bool, name: str, option_id: str, start: int, number: int, ids: str) -> None:  # noqa: PLR0913, PLR0917  # a row
    outcome = Outcome(name)
    found.outcomes[outcome] += number
    if here:
        found.poll_outcomes[outcome] += number
        if outcome is Outcome.COUNTED:
            found.cells[Cell(option_id, start)] += number
            found.vote_ids.append(ids)


def _totals(cells: Mapping[Cell, int]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for cell, votes in cells.items():
        totals[cell.option_id] += votes
    return totals


def _sum(counts: Iterable[Mapping[Any, int]]) -> Counter[Any]:
    total: Counter[Any] = Counter()
    for count in counts:
        total.update(count)
    return total


def groups_of(partitions: list[tuple[int, int]]) -> Iterator[list[int]]:
    """Put partitions (number, rows) together as far as ``GROUP_ROWS`` allows; a larger one is a group of its own."""
    group: list[int] = []
    rows = 0
    for partition, held in partitions:
        if group and rows + held > GROUP_ROWS:
            yield group
            group, rows = [], 0
        group.append(partition)
        rows += held
    if group:
        yield group


def rows_of(settings: Settings, queries: list[tuple[str, dict[str, Any]]]) -> list[list[Any]]:
    """Run queries on one connection; give the rows of each.

    Raises:
        UnavailableError: ClickHouse does not answer.
    """
    client = connect(settings)
    with translated_errors():
        try:
            return [
                list(client.query(sql, parameters={"topic": settings.topic, **parameters}).result_rows)
                for sql, parameters in queries
            ]
        finally:
            client.close()
