"""The fold of a batch: every rule, in one place.

A partition's state is a function of its log before `next_offset`. ``fold`` takes a batch to a *chunk*: what the batch adds,
in a form that a ledger applies all or nothing. Where the worker's state is lost or doubted, it is read from the ledger
again: the ledger has all of it, including what is remembered of single votes (``pipeline.domain.memory``).
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.domain.batch import RecordBatch
from pipeline.domain.columns import read_columns
from pipeline.domain.memory import PollMemory, Remembered
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import Poll, PollId, apply_marker
from pipeline.domain.record import Marker
from pipeline.domain.rows import counted
from pipeline.domain.rules import RULES, Run

MAX_EDGES = 1_000  # of a poll, whose last signs a partition's ledger keeps: the first ones in the order of its log


class PartitionState(msgspec.Struct, frozen=True):
    """What deciding needs to know of a partition's log before `next_offset`.

    `memory` is of the polls that are not final. It is not copied: ``fold`` moves it on.
    """

    next_offset: int
    clock_ms: int = 0  # the latest append time so far; epochs of vote ids follow it, so they never run backwards
    polls: Mapping[PollId, Poll] = {}
    memory: dict[PollId, PollMemory] = msgspec.field(default_factory=dict)
    base: int = 0  # the first offset that was folded

    def is_where(self, other: "PartitionState") -> bool:
        """Tell whether it is at the same place of the log as another one: then their memories have the same content."""
        mine = (self.base, self.next_offset, self.clock_ms, self.polls)
        return mine == (other.base, other.next_offset, other.clock_ms, other.polls)


class Cell(NamedTuple):
    """One number on the air: the votes of an option in a window."""

    option_id: str
    window_start: int  # ms since the epoch


class Chunk(msgspec.Struct, frozen=True):
    """What a run of the log adds to its partition's ledger, all or nothing."""

    partition: int
    first_offset: int
    next_offset: int
    clock_ms: int
    outcomes: Mapping[Outcome, int]  # of all records
    poll_outcomes: Mapping[PollId, Mapping[Outcome, int]]  # the same, of polls that were open by then
    counted: Mapping[PollId, Mapping[Cell, int]]
    edges: Mapping[
        PollId, Mapping[str, int]
    ]  # edge id -> append time of its last vote; as `poll_outcomes`, all of them
    polls: list[Poll]  # polls whose state changed, as it is at the end of the chunk
    remembered: list[tuple[PollId, Remembered]]
    forgotten: list[tuple[PollId, int]]  # epochs of vote ids that no later record can meet


def fold(state: PartitionState, batch: RecordBatch) -> tuple[PartitionState, Chunk]:
    """Decide a batch that begins at the state's next offset; give the state after it, and what it adds.

    The state before is used up: its memory is now that of the state after.

    Raises:
        ValueError: the batch begins elsewhere. That is the caller's fault, never a record's.
    """
    if batch.first_offset != state.next_offset:
        raise ValueError(f"batch begins at {batch.first_offset}, the state expects {state.next_offset}")
    folding = _Folding(state)
    folding.records(batch)
    return folding.state(batch.next_offset), folding.chunk(batch)


class _Folding:
    """The working memory of one fold."""

    def __init__(self, state: PartitionState) -> None:
        self.base, self.clock_ms = state.base, state.clock_ms
        self.before = state.polls
        self.polls = dict(state.polls)
        self.memory = state.memory
        self.edges: dict[PollId, dict[str, int]] = {}
        self.outcomes: Counter[Outcome] = Counter()
        self.poll_outcomes: dict[PollId, Counter[Outcome]] = {}
        self.counted: dict[PollId, Counter[Cell]] = {}
        self.remembered: list[tuple[PollId, Remembered]] = []
        self.forgotten: list[tuple[PollId, int]] = []

    def records(self, batch: RecordBatch) -> None:
        """Decide records, as many votes in one go as lie before a marker that changes a poll."""
        columns = read_columns(batch.values)
        times = batch.append_times
        clocks = np.maximum.accumulate(np.maximum(times, self.clock_ms))
        begin = 0

        def run(end: int) -> None:
            places = (columns.kind_of[begin:end] >= 0).nonzero()[0] + begin
            if len(places):
                self.votes(Run(columns, places, batch.keys, times, clocks))

        for place, record in columns.others.items():
            self.outcomes[Outcome.MALFORMED if record is None else Outcome.MARKER] += 1
            if record is not None and self.moves(record):
                run(place)
                begin = place
                self.move(record)
        run(len(batch))
        self.clock_ms = int(clocks[-1]) if len(batch) else self.clock_ms
        self.forget()

    def moves(self, marker: Marker) -> bool:
        """Tell whether a marker changes its poll: most repeat what was said before."""
        poll = self.polls.get(PollId(marker.show_id, marker.poll_id))
        return apply_marker(poll, marker) is not poll

    def move(self, marker: Marker) -> None:
        poll_id = PollId(marker.show_id, marker.poll_id)
        poll = apply_marker(self.polls.get(poll_id), marker)
        assert poll is not None  # noqa: S101  # it changes
        if poll_id not in self.polls:
            self.memory[poll_id] = PollMemory(poll.rules.votes_per_voter)
        self.polls[poll_id] = poll

    def votes(self, run: Run) -> None:
        """Decide votes between which no poll changes."""
        refusals = run.refusals(self.polls)
        for place in refusals.nonzero()[0].tolist():
            self.refuse(RULES[refusals[place]], run.polls[run.kind_of[place]])
        self.hear(run)
        numbers = {poll_id: number for number, poll_id in enumerate(dict.fromkeys(run.polls))}
        poll_of = np.array([numbers[poll_id] for poll_id in run.polls]).take(run.kind_of)
        for poll_id in filter(self.polls.__contains__, numbers):
            places = ((refusals == 0) & (poll_of == numbers[poll_id])).nonzero()[0]
            if len(places):
                self.count(run, poll_id, places)

    def refuse(self, outcome: Outcome, poll_id: PollId) -> None:
        self.outcomes[outcome] += 1
        if poll_id in self.polls:
            self.poll_outcomes.setdefault(poll_id, Counter())[outcome] += 1

    def hear(self, run: Run) -> None:
        """Note when edges sent their last votes for each poll, whatever became of these."""
        first, last = np.full((2, len(run.kinds)), -1)
        places = np.arange(len(run.kind_of))
        first[run.kind_of[::-1]] = places[::-1]  # of one kind's places the last that is written stays
        last[run.kind_of] = places
        heard = [number for number, poll_id in enumerate(run.polls) if first[number] >= 0 and poll_id in self.polls]
        for number in sorted(heard, key=first.__getitem__):  # the order in which a ledger has room for edges
            self.edges.setdefault(run.polls[number], {}).setdefault(run.kinds[number].edge_id, 0)
        for number in sorted(heard, key=last.__getitem__):
            self.edges[run.polls[number]][run.kinds[number].edge_id] = int(run.append_times[last[number]])

    def count(self, run: Run, poll_id: PollId, places: NDArray[np.int64]) -> None:
        """Apply rules 8 to 10 to votes for a poll that have passed the others, epoch by epoch."""
        horizon_ms = self.polls[poll_id].rules.dedupe_horizon_ms
        if horizon_ms is None:
            self.count_in(0, run, poll_id, places)
            return
        epochs = run.clocks[places] // horizon_ms
        for epoch in np.unique(epochs).tolist():  # clocks do not step back
            self.begin_epoch(poll_id, epoch)
            self.count_in(epoch, run, poll_id, places[epochs == epoch])

    def begin_epoch(self, poll_id: PollId, epoch: int) -> None:
        poll = self.polls[poll_id]
        if epoch > poll.epoch:
            # The epochs that a later vote can meet are its own and the one before: all older ones are forgotten.
            self.forgotten += [(poll_id, old) for old in poll.epochs if old < epoch - 1]
            self.polls[poll_id] = msgspec.structs.replace(poll, epoch=epoch)

    def count_in(self, epoch: int, run: Run, poll_id: PollId, places: NDArray[np.int64]) -> None:
        decided = self.memory[poll_id].decide(epoch, run.vote_ids[places], run.voter_ids[places])
        self.remembered.append((poll_id, decided.remembered))
        of_poll = self.poll_outcomes.setdefault(poll_id, Counter())
        for outcome, number in (
            (Outcome.COUNTED, decided.counted),
            (Outcome.DUPLICATE, decided.duplicate),
            (Outcome.OVER_LIMIT, decided.over_limit),
        ):
            if number:
                self.outcomes[outcome] += number
                of_poll[outcome] += number
        cells = self.cells(run, places[decided.is_counted], self.polls[poll_id].rules.window_ms)
        self.counted.setdefault(poll_id, Counter()).update(cells)

    def cells(self, run: Run, places: NDArray[np.int64], window_ms: int) -> Counter[Cell]:
        """Count votes by option and window."""
        cells: Counter[Cell] = Counter()
        if len(places):
            windows = run.cast_at[places] // window_ms
            first = int(windows.min())
            span = int(windows.max()) - first + 1
            codes, numbers = counted(run.kind_of[places] * span + (windows - first))
            for code, number in zip(codes.tolist(), numbers.tolist(), strict=True):
                kind, window = divmod(code, span)
                cells[Cell(run.kinds[kind].option_id, (first + window) * window_ms)] += number
        return cells

    def forget(self) -> None:
        for poll_id, epoch in self.forgotten:
            self.memory[poll_id].forget(epoch)
        for poll_id, poll in self.polls.items():
            if poll.final:  # every later vote is late before it could be a repeat: nothing asks for these again
                self.memory.pop(poll_id, None)

    def state(self, next_offset: int) -> PartitionState:
        return PartitionState(next_offset, self.clock_ms, self.polls, self.memory, self.base)

    def chunk(self, batch: RecordBatch) -> Chunk:
        return Chunk(
            partition=batch.partition,
            first_offset=batch.first_offset,
            next_offset=batch.next_offset,
            clock_ms=self.clock_ms,
            outcomes=self.outcomes,
            poll_outcomes=self.poll_outcomes,
            counted=self.counted,
            edges=self.edges,
            polls=[poll for poll_id, poll in self.polls.items() if poll is not self.before.get(poll_id)],
            remembered=self.remembered,
            forgotten=self.forgotten,
        )
