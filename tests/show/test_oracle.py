"""The oracle says what the real rules say, of whole shows and of each record; a show altered by one vote is noticed."""

from dataclasses import replace

import pytest

from pipeline.domain.fold import fold
from pipeline.domain.outcome import Outcome
from pipeline.domain.partition import PartitionTally
from pipeline.domain.record import Vote, decode
from pipeline.show.expectation import Expectation, Fate
from pipeline.show.script import FINALISTS, Popularity, Script, Shares, default_script

from .rehearsal import OPENED_AT, Rehearsal

CROWD = default_script(records=8_000, seconds=30)
EVERYTHING = replace(
    CROWD.scaled(4),
    shares=Shares(oversized=0.0002, rival_openings=0.0005, before_opening=0.003, implausible_time=0.004),
)


@pytest.fixture(scope="module")
def show() -> Rehearsal:
    return Rehearsal(EVERYTHING, partitions=3)


@pytest.fixture(scope="module")
def found(show: Rehearsal) -> Expectation:
    return show.folded()


def test_agrees_with_the_fold_on_several_partitions(show: Rehearsal, found: Expectation) -> None:
    assert show.expected.differences(found) == []


def test_every_outcome_is_there(show: Rehearsal) -> None:
    assert set(Outcome) == {outcome for outcome, times in show.expected.outcomes.items() if times}
    assert show.expected.records == EVERYTHING.records + 3 * 3
    assert show.expected.counted == sum(show.expected.totals.values()) > 0.8 * EVERYTHING.records


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("script", "open_for_ms", "slowness"),
    [
        pytest.param(CROWD, 0, 1.0, id="as planned"),
        pytest.param(CROWD, 600_000, 1.0, id="a poll that has been open for ten minutes"),
        pytest.param(CROWD, 0, 6.0, id="a publisher that is six times too slow"),
        pytest.param(replace(CROWD, grace_s=40.0), 0, 1.0, id="a long wait before the end is final"),
        pytest.param(replace(CROWD, voters=3_000, votes_per_voter=1), 0, 1.0, id="all votes of all voters are used"),
        pytest.param(replace(CROWD, voters=3, votes_per_voter=5), 0, 1.0, id="three voters"),
        pytest.param(replace(CROWD, voters=1, votes_per_voter=1), 0, 1.0, id="one voter"),
        pytest.param(replace(CROWD, votes_per_voter=1_000_000), 0, 1.0, id="no limit to speak of"),
        pytest.param(replace(CROWD, records=300, tick_ms=7), 0, 1.0, id="hardly anybody"),
        pytest.param(replace(CROWD, shares=Shares(repeats=0.5, over_limit=0.35)), 0, 1.0, id="mostly repeats"),
        pytest.param(replace(CROWD, notice_s=CROWD.duration_s), 0, 1.0, id="the close is announced at once"),
        pytest.param(replace(CROWD, notice_s=0.001, tick_ms=500), 0, 1.0, id="long ticks, a close at short notice"),
    ],
)
def test_agrees_with_the_fold(script: Script, open_for_ms: int, slowness: float, seed: int) -> None:
    show = Rehearsal(script, seed=seed, open_for_ms=open_for_ms, slowness=slowness)
    assert show.expected.differences(show.folded()) == []
    assert show.expected.records == script.records + 3


def test_agrees_about_each_record() -> None:
    show = Rehearsal(replace(EVERYTHING, records=6_000))
    tally = PartitionTally()
    for batch, fate in zip(show.log.batches(0, size=1), show.fates, strict=True):
        before = tally.outcomes.copy()
        tally.apply(fold(tally.state(), batch)[1])
        assert tally.outcomes - before == {fate.outcome: 1}, batch


def test_steady_votes_into_a_poll_of_somebody_else() -> None:
    script = Script(
        show_id="s", poll_id="p", options=FINALISTS, records=5_000, voters=400, votes_per_voter=3, duration_s=2
    )
    show = Rehearsal(script, partitions=4)
    assert script.close_tick == script.final_tick == script.ticks == len(show.blocks)
    assert show.expected.differences(show.folded()) == []
    assert {len(block) for block in show.blocks} == {50}
    assert show.expected.counted <= 400 * 3


def test_a_hundred_options_are_all_chosen() -> None:
    options = tuple(Popularity(f"o{index}", 1 + 999 * (index == 7)) for index in range(100))
    show = Rehearsal(replace(CROWD, options=options))
    assert show.expected.differences(show.folded()) == []
    assert len(show.expected.totals) == 100
    assert max(show.expected.totals, key=show.expected.expected_total) == "o7"


# Negative controls: each of these is the true expectation, altered by one record.


@pytest.mark.parametrize("outcome", list(Outcome))
def test_one_record_more_is_noticed(show: Rehearsal, found: Expectation, outcome: Outcome) -> None:
    altered = Expectation.from_json(show.expected.to_json())
    altered.expect(Fate(outcome, of_poll=False))
    assert [line.split(":")[0] for line in altered.differences(found)] == [f"outcome {outcome}"]


def test_one_vote_for_another_option_is_noticed(show: Rehearsal, found: Expectation) -> None:
    altered = Expectation.from_json(show.expected.to_json())
    second = OPENED_AT + 1_000 - OPENED_AT % 1_000
    altered.expect(Fate(Outcome.COUNTED, option_id="ada", second=second))
    altered.expect(Fate(Outcome.COUNTED, option_id="bo", second=second), -1)
    differing = [line.split(":")[0] for line in altered.differences(found)]
    assert differing == [f"second {second} of ada", f"second {second} of bo", "total of ada", "total of bo"]


def test_one_vote_in_another_second_is_noticed(show: Rehearsal, found: Expectation) -> None:
    altered = Expectation.from_json(show.expected.to_json())
    second = OPENED_AT + 1_000 - OPENED_AT % 1_000
    altered.expect(Fate(Outcome.COUNTED, option_id="ada", second=second))
    altered.expect(Fate(Outcome.COUNTED, option_id="ada", second=second + 1_000), -1)
    assert len(altered.differences(found)) == 2


def test_a_vote_that_the_log_lost_is_noticed() -> None:
    show = Rehearsal(replace(CROWD, records=3_000))
    counted = {record.value for block in show.blocks for record in block if record.fate.outcome is Outcome.COUNTED}
    index = next(i for i, (_, _, value) in enumerate(show.log.partitions[0]) if value in counted)
    lost = show.log.partitions[0].pop(index)
    assert isinstance(decode(lost[2]), Vote)
    assert show.expected.differences(show.folded())
