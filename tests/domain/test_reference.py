"""The fold against a slow and obvious reference, on logs that bring the rules into collision."""

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from pipeline.domain.fold import fold
from pipeline.domain.outcome import Outcome
from pipeline.domain.partition import PartitionTally

from .logs import batch_of, logs, throw_log
from .reference import Entry, Reference, poll_of


def outcomes_of_fold(log: list[Entry]) -> tuple[list[str], PartitionTally]:
    """Fold record by record, so that each one's outcome shows."""
    tally, outcomes = PartitionTally(), []
    for offset, entry in enumerate(log):
        before = tally.outcomes.copy()
        tally.apply(fold(tally.state(), batch_of([entry], offset))[1])
        (outcome,) = (tally.outcomes - before).elements()
        outcomes.append(str(outcome))
    return outcomes, tally


def edges_of(tally: PartitionTally) -> dict[tuple[str, str], int]:
    return {
        ("/".join(poll_id), edge_id): append_time
        for poll_id, counted in tally.polls.items()
        for edge_id, append_time in counted.edges.items()
    }


@settings(max_examples=150, deadline=None)
@given(log=logs())
def test_fold_and_reference_agree(log: list[Entry]) -> None:
    reference = Reference()
    expected = [reference.outcome(entry) for entry in log]
    outcomes, tally = outcomes_of_fold(log)
    assert outcomes == expected
    polls = {f"{show}/{poll}": counted for (show, poll), counted in tally.polls.items()}
    assert set(polls) == set(reference.polls)
    assert reference.totals() == Counter(
        {(poll, option): votes for poll, counted in polls.items() for option, votes in counted.totals.items()}
    )
    assert reference.windows() == Counter(
        {(poll, *cell): votes for poll, counted in polls.items() for cell, votes in counted.cells.items()}
    )
    assert reference.edges == edges_of(tally)
    for name, counted in polls.items():
        known = reference.polls[name]
        assert (counted.poll.closed_at, counted.poll.final) == (known["closed_at"], known["final"])
        assert known["voids"] == {
            void.decision.void_id: [decision.reason for decision in (void.decision, void.reinstated) if decision]
            for void in counted.poll.voids
        }


class NeverCloses(Reference):
    def close(self, poll: dict[str, Any], closed_at: int) -> None:
        """Lose the marker."""


class ClosesAfterItsInstant(Reference):
    def over(self, poll: dict[str, Any], cast_at: int) -> bool:
        return poll["closed_at"] is not None and cast_at > poll["closed_at"]


class OpensAfterItsInstant(Reference):
    def opened_by(self, poll: dict[str, Any], cast_at: int) -> bool:
        return bool(cast_at > poll["opened_at"])


class LastOpeningHolds(Reference):
    def marker(self, marker: dict[str, Any]) -> None:
        if marker["type"] == "poll.opened":
            self.polls.pop(poll_of(marker), None)
        super().marker(marker)


class LastCloseHolds(Reference):
    def close(self, poll: dict[str, Any], closed_at: int) -> None:
        if closed_at >= poll["opened_at"]:
            poll["closed_at"] = closed_at


class ClosesBeforeItsOpening(Reference):
    def close(self, poll: dict[str, Any], closed_at: int) -> None:
        if poll["closed_at"] is None:
            poll["closed_at"] = closed_at


class FinalWithoutClose(Reference):
    def marker(self, marker: dict[str, Any]) -> None:
        super().marker(marker)
        if marker["type"] == "poll.final" and poll_of(marker) in self.polls:
            self.polls[poll_of(marker)]["final"] = True


class VoidsEndThePoll(Reference):
    def void(self, voids: dict[str, list[str]], marker: dict[str, Any]) -> None:
        super().void(voids, marker)
        self.polls[poll_of(marker)]["final"] = True


class TooOldByOne(Reference):
    def plausible(self, ahead_ms: int) -> bool:
        return -60_000 < ahead_ms <= 5_000


class TooFarAheadByOne(Reference):
    def plausible(self, ahead_ms: int) -> bool:
        return -60_000 <= ahead_ms <= 5_001


class RemembersThreeEpochs(Reference):
    def remembers(self, clock: int, horizon: int | None) -> bool:
        return horizon is None or self.clock // horizon - clock // horizon <= 2


class RemembersItsOwnEpochOnly(Reference):
    def remembers(self, clock: int, horizon: int | None) -> bool:
        return horizon is None or self.clock // horizon == clock // horizon


class RemembersExactlyTheHorizon(Reference):
    def remembers(self, clock: int, horizon: int | None) -> bool:
        return horizon is None or self.clock - clock <= horizon


class RemembersOnlyWhatCounted(Reference):
    """A repeat does not renew the memory of its id."""

    def repeats(self, poll: dict[str, Any], vote: dict[str, Any]) -> bool:
        seen = super().repeats(poll, vote)
        if seen:
            self.appearances[poll_of(vote), vote["vote_id"].lower()].pop()
        return seen


class ClockGoesBack(Reference):
    def tick(self, append_time: int) -> None:
        self.clock = append_time


class SpellingMatters(Reference):
    def repeats(self, poll: dict[str, Any], vote: dict[str, Any]) -> bool:
        return super().repeats(poll, {**vote, "vote_id": vote["vote_id"].replace("a", "b")})


class LimitOverAllPolls(Reference):
    def votes_of(self, vote: dict[str, Any]) -> int:
        return len([voter for _, voter, _, _ in self.votes if voter == vote["voter_id"]])


class HearsEdgesBeforeTheOpening(Reference):
    def hear(self, vote: dict[str, Any], append_time: int) -> None:
        self.edges[poll_of(vote), vote["edge_id"]] = append_time


class HearsEdgesOfGoodVotesOnly(Reference):
    def hear(self, vote: dict[str, Any], append_time: int) -> None:
        """Wait what becomes of it."""

    def repeats(self, poll: dict[str, Any], vote: dict[str, Any]) -> bool:
        super().hear(vote, self.clock)
        return super().repeats(poll, vote)


class KeepsTheLatestTimeOfAnEdge(Reference):
    def hear(self, vote: dict[str, Any], append_time: int) -> None:
        super().hear(vote, max(append_time, self.clock))


WRONG = Reference.__subclasses__()
# A fixed choice of logs, long enough that rules meet: the same generator as above, with a seed in Hypothesis' place.
THROWN = [throw_log(Random(seed), 80) for seed in range(200)]


Told = tuple[list[str], dict[tuple[str, str], int]]  # the outcome of each record; the edges in the end


def told_by(reference: Reference, log: list[Entry]) -> Told:
    return [reference.outcome(entry) for entry in log], reference.edges


@pytest.fixture(scope="module")
def folded() -> list[Told]:
    return [(outcomes, edges_of(tally)) for outcomes, tally in map(outcomes_of_fold, THROWN)]


def test_the_thrown_logs_agree_too(folded: list[Told]) -> None:
    assert folded == [told_by(Reference(), log) for log in THROWN]
    assert {outcome for outcomes, _ in folded for outcome in outcomes} == set(Outcome)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_a_wrong_reference_is_noticed(wrong: type[Reference], folded: list[Told]) -> None:
    """The comparison is worth what it can see: with one rule altered it must disagree on some log."""
    assert any(told_by(wrong(), log) != told for log, told in zip(THROWN, folded, strict=True))
