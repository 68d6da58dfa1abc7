"""A partition's ledger in plain Python: what the Lua script of ``pipeline.ledger`` does, for all to read.

Tests and simulations use it as the model; one suite of contracts runs on it and on the real Redis, so that what is shown
of the one holds for the other.
"""

from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.domain.fold import MAX_EDGES, Cell, Chunk, PartitionState
from pipeline.domain.memory import PollMemory
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import Poll, PollId


class Answer(StrEnum):
    """What a ledger says of a chunk. Only `applied` changed anything."""

    APPLIED = "applied"  # the chunk began at the ledger's next offset
    SEEN = "seen"  # all of it was applied before
    OVERLAP = "overlap"  # a part of it was: trim and resubmit
    GAP = "gap"  # the ledger is behind, or gone: go back to its next offset


@dataclass
class PollTally:
    """What one partition has counted for a poll."""

    poll: Poll
    totals: Counter[str] = field(default_factory=Counter)  # option id -> votes
    cells: Counter[Cell] = field(default_factory=Counter)
    outcomes: Counter[Outcome] = field(default_factory=Counter)  # of records after the opening marker
    edges: dict[str, int] = field(default_factory=dict)  # edge id -> append time of its last record of these, ms
    memory: PollMemory = field(init=False)

    def __post_init__(self) -> None:
        self.memory = PollMemory(self.poll.rules.votes_per_voter)


@dataclass
class PartitionTally:
    """The ledger of one partition: its state is ``fold`` over the log before `next_offset`, and nothing else."""

    next_offset: int = 0
    clock_ms: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    polls: dict[PollId, PollTally] = field(default_factory=dict)
    base: int = field(init=False)  # the first offset that was folded

    def __post_init__(self) -> None:
        self.base = self.next_offset

    def apply(self, chunk: Chunk) -> Answer:
        """Take a chunk, all or nothing."""
        if chunk.next_offset <= self.next_offset:
            return Answer.SEEN
        if chunk.first_offset != self.next_offset:
            return Answer.OVERLAP if chunk.first_offset < self.next_offset else Answer.GAP
        self.next_offset, self.clock_ms = chunk.next_offset, chunk.clock_ms
        for poll in chunk.polls:
            self.polls.setdefault(poll.id, PollTally(poll)).poll = poll
        self.outcomes.update(chunk.outcomes)
        for poll_id, outcomes in chunk.poll_outcomes.items():
            self.polls[poll_id].outcomes.update(outcomes)
        for poll_id, cells in chunk.counted.items():
            self._count(self.polls[poll_id], cells)
        for poll_id, edges in chunk.edges.items():
            self._hear(self.polls[poll_id].edges, edges)
        for poll_id, remembered in chunk.remembered:
            self.polls[poll_id].memory.recall(remembered)
        self._forget(chunk)
        return Answer.APPLIED

    def state(self) -> PartitionState:
        """Give what ``fold`` needs to go on from here."""
        return PartitionState(
            self.next_offset,
            self.clock_ms,
            {poll_id: tally.poll for poll_id, tally in self.polls.items()},
            {poll_id: deepcopy(tally.memory) for poll_id, tally in self.polls.items() if not tally.poll.final},
            self.base,
        )

    def _count(self, tally: PollTally, cells: Mapping[Cell, int]) -> None:
        tally.cells.update(cells)
        for cell, votes in cells.items():
            tally.totals[cell.option_id] += votes

    def _hear(self, known: dict[str, int], edges: Mapping[str, int]) -> None:
        for edge_id, append_ms in edges.items():
            if edge_id in known or len(known) < MAX_EDGES:
                known[edge_id] = append_ms

    def _forget(self, chunk: Chunk) -> None:
        for poll_id, epoch in chunk.forgotten:
            self.polls[poll_id].memory.forget(epoch)
        for poll in chunk.polls:
            if poll.final:
                self.polls[poll.id].memory = PollMemory(poll.rules.votes_per_voter)
