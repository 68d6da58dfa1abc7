"""What ClickHouse recounts from raw bytes, read by a command. It shares no rule and no number with the tally."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pipeline.archive.connection import connect, translated_errors
from pipeline.archive.store import ArchiveStore
from pipeline.domain.fold import Cell
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import PollId
from pipeline.settings import Settings

GROUP_ROWS = 500_000  # recounted in one query: each row takes some 1,700 bytes while the views sort it


@dataclass(frozen=True)
class Recount:
    """The recount of a poll, and the outcomes of all records of the log."""

    totals: dict[str, int]  # every option, also without votes
    cells: dict[Cell, int]
    poll_outcomes: dict[Outcome, int]  # of votes behind the poll's opening marker
    outcomes: dict[Outcome, int]  # of all records of the topic


async def recount(settings: Settings, poll_id: PollId) -> Recount:
    """Ask the views of ``schemas/clickhouse``.

    Raises:
        UnavailableError: ClickHouse does not answer.
    """
    return await asyncio.to_thread(_recount, settings, poll_id)


async def stored_records(settings: Settings) -> int:
    """Give how many records of the topic are stored, each once."""
    sql = "SELECT uniqExact(partition, offset) FROM votes_log WHERE topic = {topic:String}"
    return int((await asyncio.to_thread(_rows, settings, [(sql, {})]))[0][0][0])


async def reached_records(store: ArchiveStore, settings: Settings) -> int:
    """Give how far the archive has come: the sum of the partitions' next offsets. Quick enough to ask often."""
    return sum((await store.next_offsets(settings.topic, range(settings.partitions))).values())


def _recount(settings: Settings, poll_id: PollId) -> Recount:
    """Ask for all outcomes of some partitions at once, and add up.

    No rule looks beyond a partition, so that a log may be larger than ClickHouse's memory. What is of another poll, or
    does not count, is summed up there: its ids are whatever somebody sent.
    """
    sql = (
        "SELECT (show_id, poll_id) = ({show:String}, {poll:String}) AND poll_was_known AS here, outcome, "
        "if(here AND outcome = 'counted', option_id, '') AS option, "
        "if(here AND outcome = 'counted', window_start_ms, 0) AS second, count() FROM vote_outcomes "
        "WHERE topic = {topic:String} AND partition IN {partitions:Array(UInt32)} GROUP BY here, outcome, option, second"
    )
    held = "SELECT partition, count() FROM votes_log WHERE topic = {topic:String} GROUP BY partition ORDER BY partition"
    options = (
        "SELECT DISTINCT arrayJoin(option_ids) FROM polls "
        "WHERE topic = {topic:String} AND show_id = {show:String} AND poll_id = {poll:String}"
    )
    poll = {"show": poll_id.show_id, "poll": poll_id.poll_id}
    option_ids, partitions = _rows(settings, [(options, poll), (held, {})])
    counts = _rows(settings, [(sql, {**poll, "partitions": group}) for group in _groups(partitions)])
    totals = {option_id: 0 for (option_id,) in option_ids}
    cells: Counter[Cell] = Counter()
    outcomes: Counter[Outcome] = Counter()
    poll_outcomes: Counter[Outcome] = Counter()
    for here, name, option_id, window_start, number in chain.from_iterable(counts):
        outcome = Outcome(name)
        outcomes[outcome] += number
        if here:
            poll_outcomes[outcome] += number
        if here and outcome is Outcome.COUNTED:
            totals[option_id] += number
            cells[Cell(option_id, window_start)] += number
    return Recount(totals, cells, poll_outcomes, outcomes)


def _groups(partitions: list[tuple[int, int]]) -> Iterator[list[int]]:
    """Put partitions together as far as ``GROUP_ROWS`` allows; a larger one is a group of its own."""
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


def _rows(settings: Settings, queries: list[tuple[str, dict[str, Any]]]) -> list[list[Any]]:
    client = connect(settings)
    with translated_errors():
        try:
            return [
                list(client.query(sql, parameters={"topic": settings.topic, **parameters}).result_rows)
                for sql, parameters in queries
            ]
        finally:
            client.close()
