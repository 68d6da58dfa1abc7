"""The recount in SQL and the fold in Python share no code, and agree on every record."""

from random import Random

import pytest

from pipeline.archive.flush import Flush
from pipeline.domain.batch import RecordBatch
from pipeline.domain.outcome import Outcome
from pipeline.domain.record import Record, decode

from .broken_records import throw_value
from .counting import count_in_python, count_in_sql, throw_batches
from .engine import Engine

pytestmark = pytest.mark.real


def test_sql_and_python_agree_on_thirty_thousand_records(engine: Engine) -> None:
    random = Random(20260516)
    sizes = [600] * 42 + [random.randint(1, 40) for _ in range(250)]  # many logs hardly begin
    batches = throw_batches(random, sizes)
    engine.insert(Flush(batches))
    expected = count_in_python(batches)
    assert count_in_sql(engine).differences(expected) == []
    assert set(expected.outcomes.values()) == set(Outcome), "a rule that no record met was not tested"
    assert sum(expected.totals.values()) > 100
    assert len(expected.struck) > 10
    counted, struck, official = engine.rows("SELECT sum(counted), sum(struck), sum(official) FROM official_results")[0]
    assert counted == sum(expected.totals.values()) == struck + official
    in_force = [key for key, (_, _, reinstated) in expected.voids.items() if reinstated is None]
    by_poll = [(*key[:3], offset) for key in in_force for offset in expected.struck.get(key, [])]
    assert struck == len(set(by_poll)) < len(by_poll)  # a vote that meets two voids is struck once


def test_sql_and_python_read_the_same_in_forty_thousand_broken_values(engine: Engine) -> None:
    random = Random(1)
    values = [throw_value(random) for _ in range(40_000)]
    size = len(values)
    engine.insert(Flush([RecordBatch.of("votes", 0, 0, [0] * size, [None] * size, values, [()] * size)]))
    kinds = [kind for (kind,) in engine.rows("SELECT kind FROM votes ORDER BY offset")]
    decoded = [decode(value) for value in values]
    assert [
        (value, kind) for value, kind, record in zip(values, kinds, decoded, strict=True) if kind != _kind(record)
    ] == []
    markers = {"poll.opened", "poll.closed", "poll.final", "votes.voided", "votes.reinstated"}
    assert {"malformed", "vote"} | markers == set(kinds)


def _kind(record: Record | None) -> str:
    return "malformed" if record is None else str(type(record).__struct_config__.tag)
