"""Which second is complete, and when. Times are ms; the lateness is 2,000, the settling 250."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.fold import Cell
from pipeline.live.completeness import LogEnd, Position, Times, counted_to, lag, times
from pipeline.live.seconds import REVISED_MS, SERIES_MS, WHOLE_EVERY_MS, Seconds

OPENED = 10_300


def at(now_ms: int, counted_ms: int, closed_at: int | None = None, *, final: bool = False) -> Times:
    return times(now_ms, counted_ms, OPENED, closed_at, final=final)


def test_a_second_is_complete_on_the_wall_clock_although_nobody_votes() -> None:
    # opened      |10.3
    # seconds   10|----11|----12|----13|
    # complete                         ^ 10 is complete: 11.0 + lateness
    assert at(12_999, 99_999).complete_to == 10_000
    assert at(13_000, 99_999).complete_to == 11_000
    assert at(13_999, 99_999).complete_to == 11_000
    assert at(14_000, 99_999).complete_to == 12_000


def test_a_partition_that_is_behind_holds_completeness_and_the_last_second() -> None:
    assert at(60_000, 13_500) == Times(11_000, 12_000)


def test_the_last_second_is_shown_when_it_has_settled() -> None:
    assert at(13_249, 99_999).second == 11_000
    assert at(13_250, 99_999).second == 12_000


def test_after_a_close_time_stands_still() -> None:
    # closed at 14.7: second 14 is the last one; the one after it, without votes, is the last to be shown.
    assert at(99_000, 99_000, closed_at=14_700) == Times(15_000, 15_000)
    assert at(99_000, 99_000, closed_at=14_000) == Times(14_000, 14_000)


def test_a_final_poll_is_complete_whatever_the_clocks_say() -> None:
    assert at(15_000, 11_000, closed_at=14_700, final=True) == Times(15_000, 15_000)


def test_nothing_is_complete_before_the_opening() -> None:
    assert at(0, 0) == Times(10_000, 10_000)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**5), st.integers(0, 10**5))
def test_time_never_runs_back(now_ms: int, counted_ms: int, later: int, further: int) -> None:
    before, after = at(now_ms, counted_ms), at(now_ms + later, counted_ms + further)
    assert before.complete_to <= after.complete_to
    assert before.second <= after.second
    assert before.complete_to <= max(10_000, now_ms - 2_000)


def test_a_partition_is_counted_to_its_last_record_or_to_when_it_had_none_left() -> None:
    positions = [Position(5, 8_000), Position(7, 9_500)]
    assert counted_to(positions, None) == 8_000
    assert counted_to(positions, LogEnd(9_900, (5, 7))) == 9_900
    assert counted_to(positions, LogEnd(9_900, (5, 8))) == 9_500
    assert counted_to([Position()], LogEnd(9_900, (0,))) == 9_900
    assert counted_to([Position()], LogEnd(9_900, (1,))) == 0


def test_lag_counts_what_is_not_folded() -> None:
    assert lag([Position(5), Position(7)], None) is None
    assert lag([Position(5), Position(7)], LogEnd(0, (6, 3))) == 1  # read after the log's end was asked for


def test_the_series_has_every_second_also_those_without_votes() -> None:
    seconds = Seconds(("ada", "bo"), OPENED)
    starts = seconds.wanted(13_000)
    assert list(starts) == [10_000, 11_000, 12_000]
    seconds.take(starts, {Cell("bo", 11_000): 4})
    series = seconds.series("finale", "song")
    assert (series.first, series.complete_to, series.votes) == (10_000, 13_000, ((0, 0), (0, 4), (0, 0)))
    assert not seconds.wanted(13_000)


def test_late_votes_get_into_the_series() -> None:
    seconds = Seconds(("ada",), 0)
    seconds.take(seconds.wanted(200_000), {})
    starts = seconds.wanted(201_000)
    assert starts == range(201_000 - REVISED_MS, 201_000, 1000)
    seconds.take(starts, {Cell("ada", 195_000): 2})
    assert seconds.series("finale", "song").votes[-6] == (2,)
    whole = seconds.wanted(200_000 + WHOLE_EVERY_MS)
    assert len(whole) == SERIES_MS // 1000


def test_in_the_end_the_whole_series_is_read_once_more() -> None:
    seconds = Seconds(("ada",), 0)
    seconds.take(seconds.wanted(200_000), {})
    assert not seconds.wanted(200_000)
    starts = seconds.wanted(200_000, final=True)
    assert starts == range(200_000 - SERIES_MS, 200_000, 1000)
    seconds.take(starts, {Cell("ada", 100_000): 3}, final=True)
    assert seconds.series("finale", "song").votes[20] == (3,)
    assert not seconds.wanted(200_000, final=True)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_the_series_is_consecutive_and_short_however_time_jumps(jumps: list[int]) -> None:
    seconds, now = Seconds(("ada",), OPENED), 10_000
    for jump in jumps:
        now += 1000 * jump
        starts = seconds.wanted(now)
        seconds.take(starts, {Cell("ada", start): start // 1000 for start in starts})
        series = seconds.series("finale", "song")
        assert series.complete_to == now == series.first + 1000 * len(series.votes)
        assert len(series.votes) == min(SERIES_MS, now - 10_000) // 1000
        assert [votes for (votes,) in series.votes] == [
            (series.first + 1000 * index) // 1000 for index in range(len(series.votes))
        ]
