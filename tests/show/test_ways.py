"""Which way records take: through the edge only what an edge lets pass, and a voter never both ways."""

from collections import Counter

import pytest

from pipeline.domain.outcome import Outcome
from pipeline.domain.record import Vote, decode
from pipeline.show.script import default_script
from pipeline.show.ways import ONE_IN, Ways, ways_of

from .rehearsal import Rehearsal

LET_PASS = {Outcome.COUNTED, Outcome.DUPLICATE, Outcome.OVER_LIMIT}


@pytest.fixture(scope="module")
def show() -> Rehearsal:
    return Rehearsal(default_script(records=20_000, seconds=30))


@pytest.fixture(scope="module")
def ways(show: Rehearsal) -> list[Ways]:
    return [ways_of(block) for block in show.blocks]


def test_every_record_goes_one_way_and_in_its_order(show: Rehearsal, ways: list[Ways]) -> None:
    for block, (direct, forwarded) in zip(show.blocks, ways, strict=True):
        records = list(zip(block.keys, block.values, strict=True))
        assert Counter([*direct, *forwarded]) == Counter(records)
        for way in (direct, forwarded):
            left = iter(records)
            assert all(record in left for record in way)


def test_through_the_edge_goes_a_part_of_what_an_edge_lets_pass(show: Rehearsal, ways: list[Ways]) -> None:
    fates: dict[tuple[bytes | None, bytes | None], set[Outcome]] = {}
    for block in show.blocks:
        for key, value, fate in block:
            fates.setdefault((key, value), set()).add(fate.outcome)
    forwarded = [vote for each in ways for vote in each.forwarded]
    through = {outcome for vote in forwarded for outcome in fates[vote]}
    assert LET_PASS <= through <= LET_PASS | {Outcome.LATE}  # a repeat after the end goes directly, and is late
    assert all(isinstance(decode(value), Vote) for _, value in forwarded)
    passing = sum(show.expected.outcomes[outcome] for outcome in LET_PASS)
    assert 0.8 * passing < ONE_IN * len(forwarded) < 1.2 * passing


def test_no_voter_whose_votes_may_count_takes_both_ways(show: Rehearsal) -> None:
    voters: tuple[set[bytes | None], set[bytes | None]] = (set(), set())
    for block in show.blocks:
        passing = [(key, value) for key, value, fate in block if fate.outcome in LET_PASS]
        forwarded = set(ways_of(block).forwarded)
        for key, value in passing:
            voters[(key, value) in forwarded].add(key)
    assert all(voters)
    assert not voters[0] & voters[1]
