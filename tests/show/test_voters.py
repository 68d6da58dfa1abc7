"""Who votes: everybody within the limit first, and nobody is called spent before their last vote is out."""

from collections import Counter
from random import Random

import pytest

from pipeline.show.voters import Voters


@pytest.mark.parametrize(("count", "votes_each"), [(1, 1), (1, 3), (15, 2), (1_000, 1), (40_000, 2)])
@pytest.mark.parametrize("portion", [1, 7, 5_000])
def test_every_voter_has_all_votes_and_no_more_within_the_limit(count: int, votes_each: int, portion: int) -> None:
    voters, votes_of = Voters("seed", count, votes_each), Counter[bytes]()
    handed_out = 0
    while handed_out < count * votes_each:
        taken, within = voters.take(portion)
        assert len(taken) == portion
        votes_of.update(taken[:within])
        handed_out += within
    assert len(votes_of) == count
    assert set(votes_of.values()) == {votes_each}
    assert voters.take(portion)[1] == 0


def test_spent_voters_are_given_only_after_their_last_votes_are_out() -> None:
    rng, voters = Random(1), Voters("seed", 16, 2)
    taken, _ = voters.take(4)  # cohorts of one: two voters, both spent by these votes
    assert voters.spent(rng, 10) == []
    voters.settle()
    assert set(voters.spent(rng, 50)) == set(taken)


def test_spent_voters_have_no_votes_left() -> None:
    rng, voters, votes_of = Random(1), Voters("seed", 3_000, 3), Counter[bytes]()
    for _ in range(100):
        votes_of.update(voters.take(70)[0])
        voters.settle()
        assert all(votes_of[voter] == 3 for voter in voters.spent(rng, 20))


def test_another_seed_gives_other_voters() -> None:
    assert Voters("a", 100, 1).take(100) == Voters("a", 100, 1).take(100)
    assert not set(Voters("a", 100, 1).take(100)[0]) & set(Voters("b", 100, 1).take(100)[0])
