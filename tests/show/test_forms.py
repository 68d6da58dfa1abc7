"""Odd forms of votes: the good ones stay the same vote, the spoilt ones are no record at all."""

from random import Random

import pytest

from pipeline.domain.record import MAX_VALUE_BYTES, Vote, decode
from pipeline.show.ballots import Ballots
from pipeline.show.forms import MALFORMED, OVERSIZED_BYTES, UNUSUAL, oversized
from pipeline.show.script import FINALISTS

VOTER = b"AbCdEfGhIjKlMnOpQrSt-_"
(PLAIN,) = Ballots("grand-final", "winner", FINALISTS).votes(Random(1), [VOTER], b"\x00", 1_790_000_000_000)


def test_the_plain_form() -> None:
    vote = decode(PLAIN)
    assert isinstance(vote, Vote)
    assert (vote.show_id, vote.poll_id, vote.option_id) == ("grand-final", "winner", "ada")
    assert (vote.voter_id, vote.cast_at) == (VOTER.decode(), 1_790_000_000_000)


@pytest.mark.parametrize("form", UNUSUAL)
def test_an_unusual_form_is_the_same_vote(form: str) -> None:
    value = UNUSUAL[form](PLAIN)
    plain, unusual = decode(PLAIN), decode(value)
    assert value != PLAIN
    assert isinstance(plain, Vote)
    assert isinstance(unusual, Vote)
    assert unusual.vote_id.lower() == plain.vote_id.lower()
    same = ("show_id", "poll_id", "option_id", "voter_id", "cast_at")
    assert [getattr(unusual, name) for name in same] == [getattr(plain, name) for name in same]


@pytest.mark.parametrize("form", MALFORMED)
def test_a_malformed_form_is_no_record(form: str) -> None:
    assert decode(MALFORMED[form](PLAIN)) is None


def test_malformed_forms_differ_from_each_other() -> None:
    assert len({MALFORMED[form](PLAIN) for form in MALFORMED}) == len(MALFORMED)


def test_oversized_is_malformed_for_its_length_alone() -> None:
    value = oversized(PLAIN)
    assert len(value) == OVERSIZED_BYTES > MAX_VALUE_BYTES
    assert decode(value) is None
    assert isinstance(decode(value.replace(b"xx", b"")), Vote)


def test_a_vote_with_the_type_of_a_final_marker_is_never_made() -> None:
    made = [MALFORMED[form](PLAIN) or b"" for form in MALFORMED] + [UNUSUAL[form](PLAIN) for form in UNUSUAL]
    assert not any(b"poll.final" in value for value in made)
