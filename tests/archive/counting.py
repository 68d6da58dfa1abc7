"""Logs of several partitions, and their count in Python and in SQL in the same form."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from pipeline.domain.batch import RecordBatch
from pipeline.domain.fold import fold
from pipeline.domain.outcome import Outcome
from pipeline.domain.partition import PartitionTally
from pipeline.domain.record import decode
from pipeline.domain.void import meets
from tests.domain.logs import throw_log

from .broken_records import throw_value
from .engine import Engine

KEYS = (b"ann", b"Bob_-", b"42", b"finale/song", b"\xff\x00", b"", None)


@dataclass
class Count:
    """Everything that both sides say of a log."""

    outcomes: dict[tuple[int, int], str] = field(default_factory=dict)  # partition, offset -> outcome
    polls: dict[tuple[int, str, str], list[object]] = field(default_factory=dict)  # their state in each partition
    poll_outcomes: dict[tuple[int, str, str, str], int] = field(default_factory=dict)
    voids: dict[tuple[int, str, str, str], list[object]] = field(default_factory=dict)  # in each partition
    struck: dict[tuple[int, str, str, str], list[int]] = field(default_factory=dict)  # by void, the votes' offsets
    totals: dict[tuple[str, str, str], int] = field(default_factory=dict)
    seconds: dict[tuple[str, str, str, int], int] = field(default_factory=dict)

    def differences(self, other: "Count") -> list[str]:
        """Name what the two do not agree on."""
        return [line for name, mine in vars(self).items() for line in differences(name, mine, vars(other)[name])]


def differences(name: str, mine: dict[Any, Any], theirs: dict[Any, Any]) -> list[str]:
    """Name what two of one kind do not agree on."""
    return [
        f"{name} {key}: {mine.get(key)} and {theirs.get(key)}"
        for key in sorted(mine.keys() | theirs.keys())
        if mine.get(key) != theirs.get(key)
    ]


def throw_batches(random: Random, sizes: Iterable[int]) -> list[RecordBatch]:
    """Make a log for each of some partitions: the collisions of ``tests.domain.logs``, and broken records between them."""
    return [_throw_batch(random, partition, records) for partition, records in enumerate(sizes)]


def _throw_batch(random: Random, partition: int, records: int) -> RecordBatch:
    times, keys, values, clock = [], [], [], 0
    for entry in throw_log(random, max(0, records - 1)):
        clock = entry.append_time
        broken = random.random() < 0.4
        times.append(clock)
        keys.append(random.choice(KEYS) if broken else entry.key)
        values.append(throw_value(random) if broken else entry.value)
    return RecordBatch.of("votes", partition, random.choice((0, 0, 7)), times, keys, values, [()] * len(values))


def count_in_python(batches: list[RecordBatch]) -> Count:
    """Fold record by record."""
    count, totals, seconds = Count(), Counter[tuple[str, str, str]](), Counter[tuple[str, str, str, int]]()
    for batch in batches:
        tally = PartitionTally(next_offset=batch.first_offset)
        state, counted = tally.state(), list[tuple[int, Any]]()
        for one in batch.split(1):
            before = tally.outcomes.copy()
            state, chunk = fold(state, one)
            tally.apply(chunk)
            outcome = next(iter(tally.outcomes - before))
            count.outcomes[batch.partition, one.first_offset] = str(outcome)
            if outcome is Outcome.COUNTED:
                (vote,) = map(decode, one.values)
                counted.append((one.first_offset, vote))
        for (show, poll), of_poll in tally.polls.items():
            rules, held = of_poll.poll.rules, of_poll.poll
            count.polls[batch.partition, show, poll] = [
                *(rules.opened_at, [option.id for option in rules.options], rules.votes_per_voter),
                *(rules.dedupe_horizon_ms or 0, held.closed_at, held.final),
            ]
            totals.update({(show, poll, option.id): 0 for option in rules.options})
            totals.update({(show, poll, option): votes for option, votes in of_poll.totals.items()})
            seconds.update({(show, poll, *cell): votes for cell, votes in of_poll.cells.items()})
            for outcome, records in of_poll.outcomes.items():
                count.poll_outcomes[batch.partition, show, poll, str(outcome)] = records
            votes = [(offset, vote) for offset, vote in counted if (vote.show_id, vote.poll_id) == (show, poll)]
            for void in held.voids:
                key = (batch.partition, show, poll, void.decision.void_id)
                back = void.reinstated
                count.voids[key] = [void.decision.reason, void.decision.author, back and back.reason]
                if offsets := [offset for offset, vote in votes if meets(vote, void.decision)]:
                    count.struck[key] = offsets
    count.totals, count.seconds = dict(totals), dict(seconds)
    return count


# What the views say of each kind: the last column by all before it.
IN_SQL = {
    "outcomes": "SELECT partition, offset, outcome FROM vote_outcomes",
    "polls": "SELECT partition, show_id, poll_id, (opened_at_ms, option_ids, votes_per_voter, dedupe_horizon_ms, "
    "closed_at_ms, final_offset IS NOT NULL = 1) FROM polls",
    "poll_outcomes": "SELECT partition, show_id, poll_id, outcome, records FROM poll_outcomes",
    "voids": "SELECT partition, show_id, poll_id, void_id, "
    "[reason, author, if(isNull(reinstated_offset), NULL, reinstated_reason)] FROM voids",
    "struck": "SELECT partition, show_id, poll_id, void_id, arraySort(groupArray(offset)) FROM voided_votes "
    "GROUP BY partition, show_id, poll_id, void_id",
    "totals": "SELECT show_id, poll_id, option_id, votes FROM poll_results",
    "seconds": "SELECT show_id, poll_id, option_id, window_start_ms, votes FROM votes_per_second",
}


def count_in_sql(engine: Engine) -> Count:
    """Ask all views."""
    return Count(**{name: ask(engine, name) for name in IN_SQL})


def ask(engine: Engine, name: str) -> dict[Any, Any]:
    """Ask the view of one kind."""
    return {tuple(key): value for *key, value in engine.rows(IN_SQL[name])}
