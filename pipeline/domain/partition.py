"""A partition's ledger in plain Python: what the Lua script of ``pipeline.ledger`` does, for all to read.

It is the fold's other half (rules 8 to 10) as a pure object. Tests and simulations use it as the model; one suite of
contracts runs on it and on the real Redis, so that what is shown of the one holds for the other.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.domain.fold import MAX_EDGES, Cell, Chunk, PartitionState, VoteGroup, votes_in
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
    votes_of: Counter[str] = field(default_factory=Counter)  # voter id -> counted votes
    seen: dict[int, set[bytes]] = field(default_factory=dict)  # epoch -> vote ids


@dataclass
class PartitionTally:
    """The ledger of one partition: its state is ``fold`` over the log before `next_offset`, and nothing else."""

    next_offset: int = 0
    clock_ms: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    polls: dict[PollId, PollTally] = field(default_factory=dict)

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
        for poll_id, edges in chunk.edges.items():
            self._hear(self.polls[poll_id].edges, edges)
        for group in chunk.groups:
            self._count(group)
        self._forget(chunk)
        return Answer.APPLIED

    def state(self) -> PartitionState:
        """Give what ``fold`` needs to go on from here."""
        return PartitionState(
            self.next_offset, self.clock_ms, {poll_id: tally.poll for poll_id, tally in self.polls.items()}
        )

    def _count(self, group: VoteGroup) -> None:
        tally = self.polls[group.poll_id]
        now, before = tally.seen.setdefault(group.epoch, set()), tally.seen.get(group.epoch - 1, set())
        for vote_id, voter_id, cell in votes_in(group):
            if vote_id in now or vote_id in before:
                outcome = Outcome.DUPLICATE
            elif tally.votes_of[voter_id] >= group.votes_per_voter:
                outcome = Outcome.OVER_LIMIT
            else:
                outcome = Outcome.COUNTED
                tally.votes_of[voter_id] += 1
                tally.totals[cell.option_id] += 1
                tally.cells[cell] += 1
            now.add(vote_id)
            tally.outcomes[outcome] += 1
            self.outcomes[outcome] += 1

    def _hear(self, known: dict[str, int], edges: Mapping[str, int]) -> None:
        for edge_id, append_ms in edges.items():
            if edge_id in known or len(known) < MAX_EDGES:
                known[edge_id] = append_ms

    def _forget(self, chunk: Chunk) -> None:
        for poll_id, epoch in chunk.forgotten:
            self.polls[poll_id].seen.pop(epoch, None)
        for poll in chunk.polls:
            if poll.final:  # every later vote is late before it could be a repeat: nothing asks for these again
                self.polls[poll.id].seen.clear()
                self.polls[poll.id].votes_of.clear()
