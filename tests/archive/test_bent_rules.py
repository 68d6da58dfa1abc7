"""The agreement of SQL and Python is worth what it notices: each rule is bent a little, in one view, and must stand out."""

import pytest

from pipeline.archive.flush import Flush
from pipeline.archive.migrate import read_migrations

from .counting import IN_SQL, Count, ask, count_in_python, count_in_sql, differences
from .edges import edge_batches
from .engine import Engine

pytestmark = pytest.mark.real

BENT = [
    ("typed_log", "arrayReverse(JSONExtractKeysAndValuesRaw(json)", "(JSONExtractKeysAndValuesRaw(json)"),
    ("typed_log", "if(has_odd_number, odd_json, body)", "body"),
    ("typed_log", "<= 512", "<= 511"),
    ("typed_log", "<= 131072", "<= 131071"),
    ("typed_log", "'\\xEF\\xBB\\xBF'", "'\\xEF\\xBB\\xBE'"),
    ("typed_log", "BETWEEN 1 AND 200", "BETWEEN 1 AND 199"),
    ("typed_log", "BETWEEN 1 AND 100\n", "BETWEEN 1 AND 99\n"),
    ("typed_log", "cast_at_ms <= 9007199254740991", "cast_at_ms <= 9007199254740992"),
    ("polls", "AND marker.at_ms >= opened_at_ms", ""),
    ("polls", "AND marker.offset > closing.offset", ""),
    ("polls", "AND marker.offset > opened_offset", ""),
    ("polls", "'\"poll.') > 0 OR", "'\"polls.') > 0 OR"),
    ("vote_outcomes", "is_misrouted, 3", "is_misrouted, 4"),
    ("vote_outcomes", "offset > opened_offset", "offset > opened_offset + 1"),
    ("vote_outcomes", "cast_at_ms < opened_at_ms, 4", "cast_at_ms <= opened_at_ms, 4"),
    ("vote_outcomes", "NOT has(option_ids", "has(option_ids"),
    ("vote_outcomes", "cast_at_ms >= closed_at_ms", "cast_at_ms > closed_at_ms"),
    ("vote_outcomes", "offset > final_offset OR", "false OR"),
    ("vote_outcomes", "append_ms - 60000", "append_ms - 59999"),
    ("vote_outcomes", "append_ms - 60000", "append_ms - 60001"),
    ("vote_outcomes", "append_ms + 5000", "append_ms + 4999"),
    ("vote_outcomes", "append_ms + 5000", "append_ms + 5001"),
    ("vote_outcomes", ">= epoch - 1", ">= epoch"),
    ("vote_outcomes", "intDiv(clock_ms,", "intDiv(append_ms,"),
    ("vote_outcomes", "> votes_per_voter", ">= votes_per_voter"),
    ("vote_outcomes", "refusal = 0 AND NOT is_repeat ORDER BY", "refusal = 0 ORDER BY"),
    ("vote_outcomes", "cast_at_ms % 1000", "cast_at_ms % 2000"),
    ("poll_outcomes", "WHERE poll_was_known", ""),
    ("typed_log", "BETWEEN 1 AND 500", "BETWEEN 1 AND 499"),
    ("typed_log", "BETWEEN 1 AND 500", "BETWEEN 1 AND 501"),
    ("voids", "is_opened AND offset > opened_offset", "is_opened"),
    ("voids", "argMinIf(decisions.reason", "argMaxIf(decisions.reason"),
    ("voids", "marker.1 > voided_offset", "true"),
    ("voids", "'\"votes.') > 0 OR", "'\"vote.') > 0 OR"),
    ("voided_votes", "outcome = 'counted'", "outcome >= 'over_limit'"),
    ("voided_votes", "has(condition.edge_ids, edge_id)", "false"),
    ("voided_votes", "has(condition.channels, channel)", "true"),
    ("voided_votes", "has(condition.voter_ids, voter_id)", "true"),
    ("voided_votes", "voter_id >= condition.voters_from", "voter_id > condition.voters_from"),
    ("voided_votes", "voter_id <= condition.voters_to", "true"),
    ("voided_votes", "cast_at_ms >= condition.cast_from_ms", "cast_at_ms > condition.cast_from_ms"),
    ("voided_votes", "cast_at_ms < assumeNotNull", "cast_at_ms <= assumeNotNull"),
]


@pytest.fixture(scope="module")
def expected() -> Count:
    return count_in_python(edge_batches())


@pytest.fixture(scope="module")
def filled(session_engine: Engine) -> Engine:
    """The engine with the edges in it, once for all rules: only views are bent."""
    session_engine.begin("bent")
    session_engine.insert(Flush(edge_batches()))
    return session_engine


def test_the_straight_rules_agree(filled: Engine, expected: Count) -> None:
    assert count_in_sql(filled).differences(expected) == []


@pytest.mark.parametrize(("view", "rule", "bent"), BENT)
def test_a_bent_rule_is_noticed(filled: Engine, expected: Count, view: str, rule: str, bent: str) -> None:
    _, *views = read_migrations()
    for migration in views:
        filled.command(f"DROP TABLE IF EXISTS {migration.name}")
        filled.command(_bent(migration.sql, rule, bent) if migration.name == view else migration.sql)
    nearest_first = sorted(IN_SQL, key=lambda name: view not in IN_SQL[name])
    assert any(differences(name, ask(filled, name), vars(expected)[name]) for name in nearest_first)


def _bent(sql: str, rule: str, bent: str) -> str:
    assert rule in sql
    return sql.replace(rule, bent)
