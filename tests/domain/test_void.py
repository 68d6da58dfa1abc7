"""Voids: what they strike, and that nothing else changes."""

from dataclasses import dataclass
from typing import Any

import pytest

from pipeline.domain.record import Option, PollOpened, Vote, VotesReinstated, VotesVoided
from pipeline.domain.void import Void, apply_void, is_struck, meets

from .logs import OPENED_AT as T
from .test_timelines import at, outcomes, vote


def voided(name: str = "v", /, **conditions: Any) -> VotesVoided:
    return VotesVoided("finale", "song", name, "as decided", "Ada", **conditions)


BACK = VotesReinstated("finale", "song", "v", "a mistake", "Ada")


@dataclass(frozen=True)
class Case:
    name: str
    conditions: dict[str, Any]
    meets: bool


# The vote: of voter v5, cast at T + 10, received by edge-1, by way of the app.
CASES = [
    Case("its edge", {"edge_ids": ("edge-9", "edge-1")}, meets=True),
    Case("another edge", {"edge_ids": ("edge-9",)}, meets=False),
    Case("its channel", {"channels": ("app",)}, meets=True),
    Case("another channel", {"channels": ("web",)}, meets=False),
    Case("its voter", {"voter_ids": ("v5",)}, meets=True),
    Case("another voter", {"voter_ids": ("v50",)}, meets=False),
    Case("first of a range", {"voters_from": "v5", "voters_to": "v6"}, meets=True),
    Case("last of a range", {"voters_from": "v4", "voters_to": "v5"}, meets=True),
    Case("behind a range", {"voters_to": "v49"}, meets=False),
    Case("before a range", {"voters_from": "v50"}, meets=False),
    Case("cast at the beginning", {"cast_from": T + 10, "cast_before": T + 11}, meets=True),
    Case("cast before it", {"cast_from": T + 11}, meets=False),
    Case("cast at the end", {"cast_before": T + 10}, meets=False),
    Case("all but one condition", {"edge_ids": ("edge-1",), "channels": ("web",)}, meets=False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_vote_is_struck_when_it_meets_every_condition(case: Case) -> None:
    cast: Vote = vote(5, 10)
    assert meets(cast, voided(**case.conditions)) is case.meets
    assert is_struck(cast, [Void(voided(**case.conditions))]) is case.meets


def test_a_void_goes_one_way() -> None:
    #  (none) --voided--> in force --reinstated--> taken back, for good
    decision = voided(channels=("app",))
    assert apply_void((), BACK) == ()
    in_force = apply_void((), decision)
    assert is_struck(vote(1, 0), in_force)
    assert apply_void(in_force, voided(channels=("web",))) == in_force
    taken_back = apply_void(in_force, BACK)
    assert not is_struck(vote(1, 0), taken_back)
    assert apply_void(taken_back, decision) == taken_back
    assert apply_void(taken_back, BACK) == taken_back
    assert is_struck(vote(1, 0), apply_void(taken_back, voided("w", channels=("app",))))


def test_no_outcome_changes() -> None:
    # log   opened   vote 1 (ann)   void(app)   vote 2 (ann)    vote 3 (bo)
    #                counted        marker      over_limit      counted       although all of them are struck
    rules = PollOpened("finale", "song", T, (Option("ada"),))
    assert outcomes(
        at(0, rules),
        at(1, vote(1, 1, "ann")),
        at(2, voided(channels=("app",))),
        at(3, vote(2, 3, "ann")),
        at(4, vote(3, 4, "bo")),
    ) == ["marker", "counted", "marker", "over_limit", "counted"]
