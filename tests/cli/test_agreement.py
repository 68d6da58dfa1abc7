"""What is on the air is compared with what must be: every number of it, and it must be final."""

from collections import Counter

import msgspec
import pytest

from pipeline.cli.agreement import Count, OnAir, ThroughEdge, report
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import Status
from pipeline.live.seconds import Series
from pipeline.live.snapshot import OptionShown, ShownStatus, Snapshot
from pipeline.show.expectation import Expectation
from pipeline.show.script import Script, default_script

EXPECTED = Expectation(
    "grand-final",
    "winner",
    Counter({Outcome.COUNTED: 7, Outcome.DUPLICATE: 1, Outcome.MALFORMED: 2}),
    Counter({Outcome.COUNTED: 7, Outcome.DUPLICATE: 1}),
    Counter({(1_000, "ada"): 4, (2_000, "bo"): 3}),
)
SERIES = Series("grand-final", "winner", 1_000, 3_000, 1_000, ("ada", "bo"), ((4, 0), (0, 3)))
SHOWN = Snapshot(
    show_id="grand-final",
    poll_id="winner",
    status=ShownStatus.FINAL,
    phase=Status.FINAL,
    total=7,
    rate=0,
    second=3_000,
    options=(OptionShown("ada", "Ada", None, 4, 57.1, 0), OptionShown("bo", "Bo", None, 3, 42.9, 0)),
    outcomes={"counted": 7, "duplicate": 1},
    votes_per_voter=1,
    opened_at=1_000,
    closed_at=3_000,
    complete_to=3_000,
    as_of=5_000,
    lag=0,
    voids=0,
    conflicts=(),
    topic="votes",
    next_offsets=(10,),
)
SCRIPT: Script = default_script(records=1_000)
EDGE = ThroughEdge(acknowledged={"cdn-1": 3, "cdn-2": 0}, stored={"cdn-1": 3, "edge-ams-1": 5}, arrays=1)


def test_the_same_numbers_agree() -> None:
    assert OnAir(SHOWN, SERIES).differences(EXPECTED) == []
    assert report(SCRIPT, [Count("expected", EXPECTED), Count("Redis", EXPECTED)], OnAir(SHOWN, SERIES), EDGE)


@pytest.mark.parametrize(
    ("shown", "series", "named"),
    [
        ({"total": 8}, {}, "votes: expected 7, shown 8"),
        ({"status": ShownStatus.RECOUNTING}, {}, "status: expected final, shown recounting"),
        ({"options": (SHOWN.options[0],)}, {}, "bo: expected 3, shown 0"),
        ({"outcomes": {"counted": 7}}, {}, "duplicate: expected 1, shown 0"),
        ({}, {"votes": ((4, 0), (1, 3))}, "second 2000 of ada: expected 0, shown 1"),
    ],
)
def test_one_other_number_is_said_and_fails(
    shown: dict[str, object], series: dict[str, object], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    air = OnAir(msgspec.structs.replace(SHOWN, **shown), msgspec.structs.replace(SERIES, **series))
    assert air.differences(EXPECTED) == [named]
    assert not report(SCRIPT, [Count("expected", EXPECTED), Count("Redis", EXPECTED)], air, EDGE)
    assert "DIFFER" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("stored", "named"),
    [
        ({"cdn-1": 2}, "cdn-1: 3 acknowledged, 2 stored"),
        ({"cdn-1": 4}, "cdn-1: 3 acknowledged, 4 stored"),
        ({"cdn-1": 3, "cdn-2": 1}, "cdn-2: 0 acknowledged, 1 stored"),
    ],
)
def test_one_vote_less_or_more_from_the_edge_is_said_and_fails(
    stored: dict[str, int], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edge = ThroughEdge(EDGE.acknowledged, stored, arrays=1)
    assert edge.differences() == [named]
    assert not report(SCRIPT, [Count("expected", EXPECTED), Count("Redis", EXPECTED)], OnAir(SHOWN, SERIES), edge)
    assert "DIFFER" in capsys.readouterr().out
