"""A show without end: each chapter a valid show of the same poll, quiet but for one call to vote."""

from itertools import islice

from pipeline.show.evening import MURMUR_PER_S, VOTES_PER_VOTER, chapters, last_chapter

EVENING = list(islice(chapters(7), 40))


def per_second(number: int) -> list[float]:
    """Give the records of each whole second of a chapter."""
    script = EVENING[number]
    ticks = 1000 // script.tick_ms
    counts = [script.records_in(tick) for tick in range(script.ticks)]
    return [sum(counts[first : first + ticks]) for first in range(0, len(counts) - ticks, ticks)]


def test_all_chapters_are_of_the_poll_that_the_last_one_closes() -> None:
    end = last_chapter()
    for script in EVENING:
        assert (script.show_id, script.poll_id, script.votes_per_voter) == (end.show_id, end.poll_id, VOTES_PER_VOTER)
        assert script.opened(0).options == end.opened(0).options
    assert 0 < end.close_tick < end.final_tick < end.ticks


def test_a_seed_is_an_evening() -> None:
    assert list(islice(chapters(7), 40)) == EVENING
    assert list(islice(chapters(8), 40)) != EVENING


def test_a_chapter_murmurs_and_has_one_call() -> None:
    for number in range(1, len(EVENING)):
        counts = per_second(number)
        called = counts.index(max(counts))
        assert 6 * MURMUR_PER_S < counts[called] < 30 * MURMUR_PER_S
        quiet = [count for second, count in enumerate(counts) if not called - 2 <= second <= called + 6]
        assert quiet
        assert max(quiet) < 5 * MURMUR_PER_S
        assert min(quiet) > MURMUR_PER_S / 2


def test_the_first_call_comes_soon() -> None:
    assert EVENING[0].duration_s <= 10


def test_who_leads_changes() -> None:
    assert len({max(script.options, key=lambda option: option.weight).option_id for script in EVENING}) > 1
