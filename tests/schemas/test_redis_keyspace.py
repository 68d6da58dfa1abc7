"""The description of the Redis keyspace and the code name the same keys, fields and outcomes."""

import re

import pytest

from pipeline.domain.memory import VOTER_BYTES
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import PollId, Status
from pipeline.domain.record import VOTE_ID_BYTES
from pipeline.ledger.command import MAX_RECORDS
from pipeline.ledger.keys import FORMAT, Keys

from .publisher import SCHEMAS

TEXT = (SCHEMAS / "redis.md").read_text("utf-8")
# A row of the table of keys: pattern and type.
DESCRIBED = dict(re.findall(r"^\| `(\{votes/7\}:[^`]+)` \| (\w+) \|", TEXT, re.MULTILINE))


def test_every_key_is_described() -> None:
    keys, poll = Keys("votes", 7), PollId("<show>", "<poll>")
    named = {
        keys.head,
        keys.polls,
        keys.poll(poll),
        keys.windows(poll),
        keys.edges(poll),
        keys.voters(poll, 17).replace("17", "<size>"),
        keys.votes_of(poll),
        keys.ids(poll, 10**9).replace(str(10**9), "<epoch>"),
    }
    assert set(DESCRIBED) == named


def test_types_are_redis_types() -> None:
    assert set(DESCRIBED.values()) == {"hash", "set", "list"}
    assert {key for key, kind in DESCRIBED.items() if kind == "set"} == {"{votes/7}:polls"}
    assert {key for key, kind in DESCRIBED.items() if kind == "list"} == {
        "{votes/7}:ids:<show>/<poll>/<epoch>",
        "{votes/7}:voters:<show>/<poll>/<size>",
    }


@pytest.mark.parametrize("word", [*Outcome, *Status, "base", "next_offset", "clock_ms", "rules", "state"])
def test_every_field_and_word_is_explained(word: str) -> None:
    assert f"`{word}`" in TEXT


def test_the_format_is_the_one_of_the_code() -> None:
    assert f"the layout described here: `{FORMAT}`" in TEXT


def test_sizes_are_those_of_the_code() -> None:
    assert f"the {VOTE_ID_BYTES} bytes of a UUID" in TEXT
    assert f"up to {MAX_RECORDS:,} ids" in TEXT
    for most, size in VOTER_BYTES.items():
        assert f"| {most} | `{size}` |" in TEXT


def test_examples_for_the_shell_quote_their_keys() -> None:
    """`{votes/7}` unquoted is a brace expansion."""
    for line in re.findall(r"^    (.*redis-cli.*)$", TEXT, re.MULTILINE):
        assert re.search(r"""['"]\{votes/""", line), line
