"""The generator: repeatable, within limits, in time."""

import re
from collections import Counter
from dataclasses import replace

import pytest

from pipeline.domain.outcome import Outcome
from pipeline.domain.record import Vote, decode
from pipeline.show.expectation import Planned
from pipeline.show.forms import MALFORMED, OVERSIZED_BYTES
from pipeline.show.generator import Generator
from pipeline.show.script import Shares, default_script

from .rehearsal import OPENED_AT, Rehearsal

SCRIPT = replace(default_script(records=24_000, seconds=30), shares=Shares(oversized=0.0002, rival_openings=0.0005))


def records(show: Rehearsal) -> list[Planned]:
    return [record for block in show.blocks for record in block]


def votes(planned: list[Planned], *outcomes: Outcome) -> list[Vote]:
    decoded = [decode(record.value) for record in planned if record.fate.outcome in outcomes]
    return [vote for vote in decoded if isinstance(vote, Vote)]


@pytest.fixture(scope="module")
def show() -> Rehearsal:
    return Rehearsal(SCRIPT)


@pytest.fixture(scope="module")
def planned(show: Rehearsal) -> list[Planned]:
    return records(show)


def test_the_same_seed_and_instants_give_the_same_records(planned: list[Planned]) -> None:
    assert records(Rehearsal(SCRIPT)) == planned


def test_another_seed_gives_others(planned: list[Planned]) -> None:
    other = records(Rehearsal(SCRIPT, seed=2))
    assert len(other) == len(planned)
    counted, others = votes(planned, Outcome.COUNTED), votes(other, Outcome.COUNTED)
    assert not {vote.voter_id for vote in counted} & {vote.voter_id for vote in others}
    assert not {vote.vote_id for vote in counted} & {vote.vote_id for vote in others}


def test_other_instants_change_only_the_instants() -> None:
    script = SCRIPT.scaled(0.2)
    ours, theirs = (
        votes(records(Rehearsal(script, open_for_ms=ms)), Outcome.COUNTED, Outcome.OVER_LIMIT) for ms in (0, 60_000)
    )
    assert [(v.vote_id, v.voter_id, v.option_id) for v in ours] == [
        (v.vote_id, v.voter_id, v.option_id) for v in theirs
    ]
    assert {theirs[index].cast_at - ours[index].cast_at for index in range(len(ours))} == {60_000}


def test_nobody_has_more_votes_counted_than_allowed(planned: list[Planned]) -> None:
    counted = votes(planned, Outcome.COUNTED)
    of_voter = Counter(vote.voter_id for vote in counted)
    assert max(of_voter.values()) == SCRIPT.votes_per_voter
    assert len(of_voter) <= SCRIPT.voters
    assert len({vote.vote_id.lower() for vote in counted}) == len(counted)
    assert all(of_voter[vote.voter_id] == SCRIPT.votes_per_voter for vote in votes(planned, Outcome.OVER_LIMIT))


def test_voters_look_like_pseudonyms(planned: list[Planned]) -> None:
    counted = [record for record in planned if record.fate.outcome is Outcome.COUNTED]
    assert all(re.fullmatch(rb"[A-Za-z0-9_-]{22}", record.key or b"") for record in counted)
    uuid4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert all(re.fullmatch(uuid4, vote.vote_id.lower()) for vote in votes(planned, Outcome.COUNTED))


def test_every_malformed_form_is_published(planned: list[Planned]) -> None:
    spoilt = [record.value for record in planned if record.fate.outcome is Outcome.MALFORMED]
    assert len(spoilt) > 3 * len(MALFORMED)
    assert {None, b""} < set(spoilt)
    assert sum(len(value or b"") == OVERSIZED_BYTES for value in spoilt) == round(0.0002 * SCRIPT.records)


def test_options_are_as_popular_as_the_script_says(show: Rehearsal) -> None:
    weights = sum(option.weight for option in SCRIPT.options)
    for option in SCRIPT.options:
        share = show.expected.expected_total(option.option_id) / show.expected.counted
        assert share == pytest.approx(option.weight / weights, abs=0.012)


def test_repeats_are_soon_and_much_later_but_never_too_old(show: Rehearsal) -> None:
    delays, seen = [], dict[bytes | None, int]()
    for tick, block in enumerate(show.blocks):
        for _, value, fate in block:
            if fate.outcome is Outcome.DUPLICATE:
                delays.append((tick - seen[value]) * SCRIPT.tick_ms)
            elif fate.outcome is not Outcome.MALFORMED:
                seen.setdefault(value, tick)
    assert delays.count(0) == pytest.approx(len(delays) / 2, rel=0.15)
    assert 5_000 < max(delays) <= 1000 * SCRIPT.repeat_within_s


def test_both_sides_of_the_close(show: Rehearsal, planned: list[Planned]) -> None:
    #        close announced        closed_at            final
    # ───────────────┼──────────────────┼──────────────────┼──────────
    #                 late: a clock ahead  counted: in time   all late
    counted, late = votes(planned, Outcome.COUNTED), votes(planned, Outcome.LATE)
    assert max(vote.cast_at for vote in counted) == show.closed_at - 1
    after_final = [record for block in show.blocks[SCRIPT.final_tick :] for record in block]
    before_final = [record for block in show.blocks[: SCRIPT.final_tick] for record in block]
    delivered_late = [record for block in show.blocks[SCRIPT.close_tick + 100 : SCRIPT.final_tick] for record in block]
    assert votes(delivered_late, Outcome.COUNTED)
    assert min(vote.cast_at for vote in votes(before_final, Outcome.LATE)) == show.closed_at
    assert not votes(after_final, Outcome.COUNTED, Outcome.DUPLICATE, Outcome.OVER_LIMIT)
    assert min(vote.cast_at for vote in late) < show.closed_at  # cast in time, but delivered after the end


def test_implausible_times_lie_ahead_and_behind() -> None:
    show = Rehearsal(replace(SCRIPT, shares=Shares(implausible_time=0.05)), open_for_ms=600_000)
    cast = [vote.cast_at for vote in votes(records(show), Outcome.IMPLAUSIBLE_TIME)]
    assert any(cast_at < OPENED_AT + 600_000 for cast_at in cast)
    assert any(cast_at > OPENED_AT + 3_600_000 for cast_at in cast)


def test_wrong_keys_are_other_keys_or_none(planned: list[Planned]) -> None:
    wrong = [record for record in planned if record.fate.outcome is Outcome.WRONG_KEY]
    assert {record.key is None for record in wrong} == {True, False}
    for record in wrong:
        vote = decode(record.value)
        assert isinstance(vote, Vote)
        assert record.key != vote.voter_id.encode()


def test_misuse_is_refused() -> None:
    generator = Generator(replace(SCRIPT, tick_ms=15_000), 1, opened_at=OPENED_AT)
    with pytest.raises(ValueError, match="closed poll"):
        generator.finalize()
    generator.tick(OPENED_AT + 5)
    with pytest.raises(ValueError, match="backwards"):
        generator.tick(OPENED_AT + 4)
    with pytest.raises(ValueError, match="closed once"):
        generator.close(OPENED_AT + 5)
    generator.close(OPENED_AT + 6)
    with pytest.raises(ValueError, match="closed once"):
        generator.close(OPENED_AT + 7)
    generator.tick(OPENED_AT + 6)
    with pytest.raises(ValueError, match="over"):
        generator.tick(OPENED_AT + 7)


def test_no_vote_gets_two_odd_forms() -> None:
    """Reversing the fields of a vote that has blanks between them would spoil it, and nobody would expect that."""
    script = replace(SCRIPT.scaled(0.1), shares=Shares(unusual=0.5))
    planned = records(Rehearsal(script))
    assert {record.fate.outcome for record in planned if decode(record.value) is None} == {Outcome.MALFORMED}
