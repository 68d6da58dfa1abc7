"""However a log is cut, repeated and delivered, a partition ends in the state of one batch in one piece."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.fold import PartitionState, fold
from pipeline.domain.outcome import Outcome
from pipeline.domain.partition import Answer, PartitionTally

from .logs import batch_of, logs
from .reference import Entry

QUICK = settings(max_examples=75, deadline=None)
CUTS = st.lists(st.integers(0, 41), max_size=6)


def in_one_piece(log: list[Entry]) -> PartitionTally:
    tally = PartitionTally()
    assert tally.apply(fold(tally.state(), batch_of(log))[1]) is Answer.APPLIED
    return tally


@QUICK
@given(log=logs(), cuts=CUTS)
def test_any_split_gives_the_same_state(log: list[Entry], cuts: list[int]) -> None:
    tally, state = PartitionTally(), PartitionState(next_offset=0)
    ends = sorted({0, len(log), *(cut for cut in cuts if cut < len(log))})
    for start, stop in pairwise(ends):
        state, chunk = fold(state, batch_of(log[start:stop], start))
        assert tally.apply(chunk) is Answer.APPLIED
        assert state == tally.state()  # a worker that lost its state may go on from the ledger's
    assert tally == in_one_piece(log)


@QUICK
@given(log=logs(), size=st.integers(1, 41))
def test_split_cuts_without_loss(log: list[Entry], size: int) -> None:
    tally = PartitionTally()
    for batch in batch_of(log).split(size):
        assert len(batch) <= size
        tally.apply(fold(tally.state(), batch)[1])
    assert tally == in_one_piece(log)


@QUICK
@given(log=logs(), pieces=st.lists(st.tuples(st.integers(0, 41), st.integers(1, 41)), max_size=8))
def test_any_redelivery_gives_the_same_state(log: list[Entry], pieces: list[tuple[int, int]]) -> None:
    """Workers, zombies among them, submit pieces in any order; the rest follows. No piece counts twice.

    ::

        log        |0 1 2 3 4 5 6 7 8 9|
        ledger     |0 1 2 3|              next_offset = 4
        submitted    |1 2 3|              seen
                         |3 4 5 6|        overlap: trimmed to |4 5 6| and submitted again
                                 |7 8|    gap: not applied
    """
    tally = PartitionTally()
    for start, size in [*pieces, (0, len(log))]:
        if start < len(log):
            submit(tally, log, start, min(start + size, len(log)))
    assert tally == in_one_piece(log)


def submit(tally: PartitionTally, log: list[Entry], start: int, stop: int) -> None:
    """Do as a worker does that believes to be at `start`."""
    believed, _ = fold(PartitionState(next_offset=0), batch_of(log[:start]))
    batch, before = batch_of(log[start:stop], start), tally.next_offset
    answer = tally.apply(fold(believed, batch)[1])
    if answer is Answer.OVERLAP:
        assert start < before < stop
        rest = batch.since(before)
        assert (rest.first_offset, rest.next_offset) == (before, stop)
        assert tally.apply(fold(tally.state(), rest)[1]) is Answer.APPLIED
    else:
        seen = Answer.SEEN if stop <= before else Answer.GAP
        assert answer is (Answer.APPLIED if start == before else seen)
    assert tally.next_offset == (stop if answer in (Answer.APPLIED, Answer.OVERLAP) else before)


@QUICK
@given(log=logs(), start=st.integers(0, 40))
def test_what_is_not_applied_changes_nothing(log: list[Entry], start: int) -> None:
    tally, untouched = in_one_piece(log), in_one_piece(log)
    for stop in range(min(start, len(log)) + 1, len(log) + 1):
        state, _ = fold(PartitionState(next_offset=0), batch_of(log[:start]))
        answer = tally.apply(fold(state, batch_of(log[start:stop], state.next_offset))[1])
        assert answer is Answer.SEEN
    beyond = PartitionState(next_offset=len(log) + 1)
    assert tally.apply(fold(beyond, batch_of(log, len(log) + 1))[1]) is Answer.GAP
    assert tally == untouched


@QUICK
@given(log=logs())
def test_nothing_vanishes(log: list[Entry]) -> None:
    tally = in_one_piece(log)
    assert tally.outcomes.total() == tally.next_offset == len(log)
    for poll in tally.polls.values():
        counted = poll.outcomes[Outcome.COUNTED]
        assert poll.totals.total() == poll.cells.total() == counted
        assert set(poll.totals) <= poll.poll.option_ids
        assert all(cell.window_start % poll.poll.rules.window_ms == 0 for cell in poll.cells)
    of_polls = sum((poll.outcomes for poll in tally.polls.values()), start=Counter[Outcome]())
    for outcome in (Outcome.COUNTED, Outcome.DUPLICATE, Outcome.OVER_LIMIT, Outcome.LATE, Outcome.UNKNOWN_OPTION):
        assert of_polls[outcome] == tally.outcomes[outcome]  # these are never said of a poll that nobody opened


@QUICK
@given(log=logs(), times=st.integers(2, 3))
def test_markers_are_idempotent(log: list[Entry], times: int) -> None:
    repeated = [entry for entry in log for _ in range(times if entry.key and b"/" in entry.key else 1)]
    once, again = in_one_piece(log), in_one_piece(repeated)
    assert again.polls == once.polls
    again.outcomes[Outcome.MARKER] -= len(repeated) - len(log)
    assert again.outcomes == once.outcomes


@QUICK
@given(log=logs())
def test_a_final_poll_never_changes_and_remembers_nobody(log: list[Entry]) -> None:
    tally = PartitionTally()
    results: dict[object, Counter[str]] = {}
    for offset, entry in enumerate(log):
        tally.apply(fold(tally.state(), batch_of([entry], offset))[1])
        for poll_id, poll in tally.polls.items():
            if poll.poll.final:
                assert results.setdefault(poll_id, poll.totals.copy()) == poll.totals
                assert len(poll.memory) == 0


@QUICK
@given(log=logs())
def test_memory_is_bounded_by_two_epochs(log: list[Entry]) -> None:
    tally = PartitionTally()
    for offset, entry in enumerate(log):
        tally.apply(fold(tally.state(), batch_of([entry], offset))[1])
        for poll in tally.polls.values():
            assert poll.memory.epochs <= set(poll.poll.epochs)


def test_a_batch_that_begins_elsewhere_is_the_callers_fault() -> None:
    with pytest.raises(ValueError, match="batch begins at 5, the state expects 0"):
        fold(PartitionState(next_offset=0), batch_of([], 5))


def test_since_before_and_after_a_batch() -> None:
    batch = batch_of([Entry(0, b"ann", b"")] * 3, 10)
    assert batch.since(9) is batch
    assert batch.since(10) is batch
    assert (batch.since(12).first_offset, len(batch.since(12))) == (12, 1)
    assert (len(batch.since(13)), batch.since(13).next_offset) == (0, 13)
