"""Single rules of time, drawn: opening and close, windows, plausible moments, horizons."""

from uuid import UUID

import pytest

from pipeline.domain.fold import Cell, fold
from pipeline.domain.partition import PartitionTally
from pipeline.domain.poll import PollId, Status, apply_marker, open_poll
from pipeline.domain.record import (
    MAX_AGE_MS,
    MAX_AHEAD_MS,
    Option,
    PollClosed,
    PollFinal,
    PollOpened,
    Record,
    Vote,
    encode,
)
from pipeline.domain.window import window_start

from .logs import OPENED_AT as T
from .logs import batch_of
from .reference import Entry
from .test_reference import outcomes_of_fold

SONG = PollId("finale", "song")
OPENED = PollOpened("finale", "song", T, (Option("ada"), Option("bo")))
CLOSED = PollClosed("finale", "song", T + 10_000)
FINAL = PollFinal("finale", "song")


def at(append_ms: int, record: Record) -> Entry:
    """Append a record at ms after the opening."""
    key = record.voter_id if isinstance(record, Vote) else "finale/song"
    return Entry(T + append_ms, key.encode(), encode(record))


def vote(number: int, cast_ms: int, voter: str | None = None) -> Vote:
    """Make vote `number`, by a voter of its own, cast at ms after the opening."""
    return Vote(
        vote_id=str(UUID(int=number)),
        show_id="finale",
        poll_id="song",
        option_id="ada",
        voter_id=voter or f"v{number}",
        cast_at=T + cast_ms,
        edge_id="edge-1",
        channel="app",
    )


def outcomes(*entries: Entry) -> list[str]:
    return outcomes_of_fold(list(entries))[0]


def test_a_vote_counts_from_opened_at_up_to_but_without_closed_at() -> None:
    # cast    -1 0                  9_999 10_000
    # poll       [------------------------)
    #          |  |                    |  |
    #   not open  counted        counted  late
    assert outcomes(
        at(0, OPENED),
        at(1, vote(1, -1)),
        at(1, vote(2, 0)),
        at(8_000, CLOSED),
        at(10_000, vote(3, 9_999)),
        at(10_000, vote(4, 10_000)),
    ) == ["marker", "poll_not_open", "counted", "marker", "counted", "late"]


def test_only_what_lies_before_a_vote_in_the_log_decides() -> None:
    # log     vote  opened  vote  closed(10_000)  vote  final  vote
    # cast       0              11_000          11_000           9_000
    #         not open        counted            late            late
    assert outcomes(
        at(0, vote(1, 0)),
        at(0, OPENED),
        at(11_000, vote(2, 11_000)),
        at(11_001, CLOSED),
        at(11_002, vote(3, 11_000)),
        at(11_003, FINAL),
        at(11_004, vote(4, 9_000)),
    ) == ["poll_not_open", "marker", "counted", "marker", "late", "marker", "late"]


def test_between_close_and_final_what_was_cast_in_time_counts() -> None:
    # append   8_000     10_000        14_000  15_000  15_001
    #          closed ... [closed_at)  vote    final   vote
    # cast                             9_000           9_000
    assert outcomes(
        at(0, OPENED), at(8_000, CLOSED), at(14_000, vote(1, 9_000)), at(15_000, FINAL), at(15_001, vote(2, 9_000))
    ) == ["marker", "marker", "counted", "marker", "late"]


def test_a_cast_time_is_plausible_around_its_append_time() -> None:
    # append                    100_000
    # plausible  [40_000 ---------|--- 105_000]       both ends included
    append = 100_000
    ends = (append - MAX_AGE_MS - 1, append - MAX_AGE_MS, append + MAX_AHEAD_MS, append + MAX_AHEAD_MS + 1)
    votes = [at(append, vote(number, cast)) for number, cast in enumerate(ends)]
    assert outcomes(at(0, OPENED), *votes) == ["marker", "implausible_time", "counted", "counted", "implausible_time"]


def test_windows_are_half_open_seconds_of_cast_time() -> None:
    # cast     0   999 | 1_000   1_999 | 2_000
    # window  [T       )[T + 1_000     )[T + 2_000
    # votes        2           2            1        in whatever order they arrive
    votes = [at(3_000, vote(number, cast)) for number, cast in enumerate((2_000, 0, 1_999, 999, 1_000))]
    _, tally = outcomes_of_fold([at(0, OPENED), *votes])
    assert tally.polls[SONG].cells == {Cell("ada", T): 2, Cell("ada", T + 1_000): 2, Cell("ada", T + 2_000): 1}


def test_ids_are_remembered_for_their_own_epoch_and_the_next() -> None:
    # epochs   |0        |10_000   |20_000   |30_000   |40_000
    # vote 1    1_000     19_999    29_999              40_000
    #           counted   duplicate duplicate           counted again: its last appearance is two epochs back
    rules = PollOpened("finale", "song", T, (Option("ada"),), votes_per_voter=9, dedupe_horizon_ms=10_000)
    appearances = [at(append, vote(1, append)) for append in (1_000, 19_999, 29_999, 40_000)]
    assert outcomes(at(0, rules), *appearances) == ["marker", "counted", "duplicate", "duplicate", "counted"]


def test_epochs_follow_the_latest_append_time() -> None:
    # append   0   20_000   9_000   30_000
    # clock    0   20_000  20_000   30_000       it never runs backwards
    #              vote 1  vote 2   vote 2       vote 2 came in the epoch of 20_000: remembered at 30_000
    rules = PollOpened("finale", "song", T, (Option("ada"),), votes_per_voter=9, dedupe_horizon_ms=10_000)
    assert outcomes(
        at(0, rules), at(20_000, vote(1, 20_000)), at(9_000, vote(2, 9_000)), at(30_000, vote(2, 30_000))
    ) == ["marker", "counted", "counted", "duplicate"]


def test_the_limit_outlives_the_horizon() -> None:
    rules = PollOpened("finale", "song", T, (Option("ada"),), dedupe_horizon_ms=1_000)
    first, later = at(0, vote(1, 0, "ann")), at(50_000, vote(1, 50_000, "ann"))
    assert outcomes(at(0, rules), first, later) == ["marker", "counted", "over_limit"]


def test_a_poll_goes_one_way() -> None:
    #  (none) --opened--> open --closed--> closing --final--> final
    assert apply_marker(None, CLOSED) is None
    assert apply_marker(None, FINAL) is None
    opened = apply_marker(None, OPENED)
    assert opened == open_poll(OPENED)
    assert opened.status is Status.OPEN
    assert apply_marker(opened, FINAL) is opened
    assert apply_marker(opened, PollClosed("finale", "song", T - 1)) is opened
    closing = apply_marker(opened, CLOSED)
    assert closing is not None
    assert (closing.status, closing.closed_at) == (Status.CLOSING, T + 10_000)
    final = apply_marker(closing, FINAL)
    assert final is not None
    assert (final.status, final.closed_at) == (Status.FINAL, T + 10_000)
    for poll in (opened, closing, final):
        assert apply_marker(poll, OPENED) is poll
    for poll in (closing, final):
        assert apply_marker(poll, PollClosed("finale", "song", T + 20_000)) is poll
    assert apply_marker(final, FINAL) is final


@pytest.mark.parametrize(
    ("instant_ms", "start_ms"), [(0, 0), (999, 0), (1000, 1000), (1999, 1000), (2**53 - 1, 9007199254740000)]
)
def test_window_start(instant_ms: int, start_ms: int) -> None:
    assert window_start(instant_ms, 1000) == start_ms


def test_a_vote_of_a_batch_sees_the_marker_before_it_in_the_same_batch() -> None:
    tally = PartitionTally()
    log = [at(0, OPENED), at(1, vote(1, 1)), at(2, CLOSED), at(3, FINAL), at(4, vote(2, 1))]
    tally.apply(fold(tally.state(), batch_of(log))[1])
    assert tally.polls[SONG].totals == {"ada": 1}
    assert tally.polls[SONG].poll.final
