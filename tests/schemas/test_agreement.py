"""The JSON Schemas and the decoder accept the same values: what a publisher may send is what is counted."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.domain.record import decode, encode

from .publisher import MAX_BRACKETS, MAX_VALUE_BYTES, accepts, load_schema
from .records import VALID, VOTES, damaged

VOTE: dict[str, Any] = load_schema("vote")["examples"][0]


@settings(max_examples=400, deadline=None)
@given(value=damaged())
@example(value=json.dumps({**VOTE, "voter_id": "ann\nbob"}).encode())
@example(value=json.dumps({name: field for name, field in VOTE.items() if name != "type"}).encode())
def test_schema_and_decoder_agree_on_damaged_records(value: bytes) -> None:
    assert accepts(value) == (decode(value) is not None)


@settings(max_examples=100, deadline=None)
@given(record=VALID)
def test_a_valid_record_is_accepted_and_encodes_to_itself(record: dict[str, Any]) -> None:
    decoded = decode(json.dumps(record).encode())
    assert decoded is not None
    assert decode(encode(decoded)) == decoded
    assert accepts(encode(decoded))


@settings(max_examples=300, deadline=None)
@given(value=st.binary(max_size=40) | st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_junk_is_refused_by_both(value: bytes) -> None:
    assert not accepts(value)
    assert decode(value) is None


@settings(max_examples=150, deadline=None)
@given(record=VOTES, position=st.integers(0, 400), byte=st.integers(0, 255))
def test_both_agree_on_a_record_with_one_byte_changed(record: dict[str, Any], position: int, byte: int) -> None:
    value = bytearray(json.dumps(record).encode())
    value[position % len(value)] = byte
    assert accepts(bytes(value)) == (decode(bytes(value)) is not None)


def test_a_tombstone_is_malformed() -> None:
    assert decode(None) is None
    assert not accepts(None)


@pytest.mark.parametrize(
    ("size", "accepted"), [(MAX_VALUE_BYTES, True), (MAX_VALUE_BYTES + 1, False), (1 << 20, False)]
)
def test_the_longest_value(size: int, accepted: bool) -> None:
    value = json.dumps({**VOTE, "note": ""}).encode()
    value = value.replace(b'"note": "', b'"note": "' + b"x" * (size - len(value)))
    assert len(value) == size
    assert (accepts(value), decode(value) is not None) == (accepted, accepted)


@pytest.mark.parametrize(("brackets", "accepted"), [(MAX_BRACKETS - 1, True), (MAX_BRACKETS, False)])
@pytest.mark.parametrize("record", [VOTE, {"type": "poll.final", "show_id": "gala", "poll_id": "best"}])
def test_the_most_brackets_in_a_text_of_which_nothing_is_left(
    record: dict[str, Any], brackets: int, accepted: bool
) -> None:
    """The last of two equal keys holds; ClickHouse counts brackets before it looks at keys."""
    value = json.dumps(record).replace("{", '{"show_id": "' + "[" * brackets + '", ', 1).encode()
    assert (accepts(value), decode(value) is not None) == (accepted, accepted)


@pytest.mark.parametrize(("depth", "accepted"), [(MAX_BRACKETS - 1, True), (MAX_BRACKETS, False), (60_000, False)])
def test_the_deepest_value(depth: int, accepted: bool) -> None:
    value = json.dumps(VOTE)[:-1].encode() + b', "nest": ' + b"[" * depth + b"]" * depth + b"}"
    assert (accepts(value), decode(value) is not None) == (accepted, accepted)
