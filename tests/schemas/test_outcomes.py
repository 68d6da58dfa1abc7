"""Small logs, told record by record: what becomes of each."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.domain.batch import RecordBatch
from pipeline.domain.fold import fold
from pipeline.domain.outcome import Outcome
from pipeline.domain.partition import Answer, PartitionTally

from .publisher import EXAMPLES

LOGS = sorted((EXAMPLES / "outcomes").glob("*.json"))


def read_log(path: Path) -> dict[str, Any]:
    log: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return log


def value_of(record: dict[str, Any]) -> bytes | None:
    """Give the bytes of a record's value: text as it stands, anything else as JSON, null as a tombstone."""
    value = record["value"]
    if value is None:
        return None
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def batch_of(records: list[dict[str, Any]], first_offset: int = 0) -> RecordBatch:
    return RecordBatch.of(
        topic="votes",
        partition=0,
        first_offset=first_offset,
        append_times=[record["append_time"] for record in records],
        keys=[None if record["key"] is None else record["key"].encode() for record in records],
        values=[value_of(record) for record in records],
        headers=[()] * len(records),
    )


def totals_of(tally: PartitionTally) -> dict[str, dict[str, int]]:
    return {
        "/".join(poll_id): {option.id: poll.totals[option.id] for option in poll.poll.rules.options}
        for poll_id, poll in tally.polls.items()
    }


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_each_record_has_the_outcome_that_the_example_tells(path: Path) -> None:
    log, tally = read_log(path), PartitionTally()
    for offset, record in enumerate(log["records"]):
        before = tally.outcomes.copy()
        _, chunk = fold(tally.state(), batch_of([record], offset))
        assert tally.apply(chunk) is Answer.APPLIED
        assert tally.outcomes - before == {Outcome(record["outcome"]): 1}, f"record {offset}: {record}"
    assert totals_of(tally) == log["totals"]


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_the_whole_log_at_once_gives_the_same(path: Path) -> None:
    log, tally = read_log(path), PartitionTally()
    tally.apply(fold(tally.state(), batch_of(log["records"]))[1])
    assert sorted(tally.outcomes.elements()) == sorted(record["outcome"] for record in log["records"])
    assert totals_of(tally) == log["totals"]


def test_every_outcome_appears() -> None:
    assert {record["outcome"] for path in LOGS for record in read_log(path)["records"]} == set(Outcome)


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_a_log_says_what_it_shows(path: Path) -> None:
    log = read_log(path)
    assert set(log) == {"shows", "records", "totals"}
    for record in log["records"]:
        assert (
            {"append_time", "key", "value", "outcome"}
            <= set(record)
            <= {"append_time", "key", "value", "outcome", "note"}
        )
