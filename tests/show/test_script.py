"""The script: how many records when, and what it refuses."""

from dataclasses import replace
from itertools import accumulate

import pytest

from pipeline.show.curve import LIVE, STEADY, Curve
from pipeline.show.script import Popularity, Shares, default_script
from pipeline.show.strays import Quota

SCRIPT = default_script()


def rate(progress: float) -> float:
    """Records per second around a progress of the default show."""
    tick = round(progress * SCRIPT.duration_s * 1000 / SCRIPT.tick_ms)
    ticks = range(tick, tick + 10)
    return sum(SCRIPT.records_in(each) for each in ticks) * 100 / SCRIPT.tick_ms


def test_the_demo_has_half_a_million_records_in_half_a_minute() -> None:
    assert sum(SCRIPT.records_in(tick) for tick in range(SCRIPT.ticks)) == SCRIPT.records >= 500_000
    assert SCRIPT.ticks * SCRIPT.tick_ms == 30_000
    assert 0 < SCRIPT.close_tick < SCRIPT.final_tick < SCRIPT.ticks


def test_the_curve_of_a_live_show() -> None:
    #  noise ___   call /\      tail ~-__     rush _/|   after |_
    noise, call, tail, rush, after = (rate(progress) for progress in (0.1, 0.335, 0.55, 0.985, 1.03))
    assert call > 9 * noise
    assert call > 3 * tail > 3 * noise
    assert rush > 4 * noise > 4 * after > 0


def test_the_area_under_a_curve_is_the_sum_of_its_rates() -> None:
    steps = 20_000
    for progress in (0.2, 0.335, 0.999, 1.2):
        summed = sum(LIVE.rate(progress * (step + 0.5) / steps) for step in range(steps)) * progress / steps
        assert LIVE.area(progress) == pytest.approx(summed, rel=1e-4)
    assert STEADY.area(0.7) == pytest.approx(0.7)


@pytest.mark.parametrize("points", [(), ((0.1, 1.0),), ((0.0, 1.0), (0.0, 2.0)), ((0.0, -1.0),), ((0.0, 0.0),)])
def test_points_that_are_no_curve(points: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match="curve"):
        Curve(points)


def test_scaled() -> None:
    small = SCRIPT.scaled(0.01)
    assert (small.records, small.voters) == (5_200, 2_600)
    assert small.ticks == SCRIPT.ticks
    assert sum(small.records_in(tick) for tick in range(small.ticks)) == 5_200


def test_every_kind_has_its_share_over_any_stretch() -> None:
    shares = Shares(repeats=0.3, malformed=0.001, wrong_key=0.0)
    dealt = [Quota(shares).deal(1), *map(Quota(shares).deal, [0, 7, 7_000])]
    assert all(sum(each.values()) <= records for each, records in zip(dealt, [1, 0, 7, 7_000], strict=True))
    quota = Quota(shares)
    repeats = list(accumulate(quota.deal(records)["repeats"] for records in [3] * 1_000))
    assert all(abs(sofar - 0.9 * (index + 1)) <= 1 for index, sofar in enumerate(repeats))
    assert dealt[3]["malformed"] == 7
    assert dealt[3]["wrong_key"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"records": 0},
        {"voters": 0},
        {"votes_per_voter": 0},
        {"duration_s": 0.0},
        {"notice_s": 31.0},
        {"grace_s": -1.0},
        {"repeat_within_s": 60.0},
        {"options": ()},
        {"options": (Popularity("ada", 0),)},
        {"options": (Popularity("ada", 1), Popularity("ada", 2))},
        {"options": (Popularity("Ada", 1),)},
        {"show_id": "Grand Final"},
    ],
)
def test_scripts_that_cannot_be_played(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        replace(SCRIPT, **wrong)  # type: ignore[arg-type]


def test_shares_leave_room_for_votes() -> None:
    with pytest.raises(ValueError, match="tenth"):
        Shares(repeats=0.9)
    with pytest.raises(ValueError, match="negative"):
        Shares(repeats=-0.1)
