"""The description of the Redis keyspace and the code name the same keys, fields and outcomes."""

import re

import pytest

from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import PollId, Status
from pipeline.ledger.command import FULL_BUCKET_BYTES, LONGEST_PACKED_VOTER
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
        keys.voters(poll),
        keys.more_voters(poll),
    }
    named |= {key.replace(str(10**9), "<epoch>") for key in (keys.ids(poll, 10**9), keys.more_ids(poll, 10**9))}
    assert set(DESCRIBED) == named


def test_types_are_redis_types() -> None:
    assert set(DESCRIBED.values()) == {"hash", "set"}
    assert {key for key, kind in DESCRIBED.items() if kind == "set"} == {
        "{votes/7}:polls",
        "{votes/7}:more-ids:<show>/<poll>/<epoch>",
    }


@pytest.mark.parametrize("word", [*Outcome, *Status, "base", "next_offset", "clock_ms", "rules", "state"])
def test_every_field_and_word_is_explained(word: str) -> None:
    assert f"`{word}`" in TEXT


def test_the_format_is_the_one_of_the_code() -> None:
    assert f"the layout described here: `{FORMAT}`" in TEXT


def test_the_sizes_of_buckets_are_those_of_the_code() -> None:
    assert f"{FULL_BUCKET_BYTES:,} bytes or more" in TEXT
    assert f"A voter id of up to {LONGEST_PACKED_VOTER} characters" in TEXT


def test_examples_for_the_shell_quote_their_keys() -> None:
    """`{votes/7}` unquoted is a brace expansion."""
    for line in re.findall(r"^    (.*redis-cli.*)$", TEXT, re.MULTILINE):
        assert re.search(r"""['"]\{votes/""", line), line
