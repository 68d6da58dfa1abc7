"""The fold of a batch: every decision that needs no memory of single votes.

A partition's state is a function of its log before `next_offset`. ``fold`` takes a batch to a *chunk*: what the batch adds,
in a form that a ledger applies all or nothing. The ledger then decides the rest (rules 8 to 10: repeats and limits),
because only it remembers votes. Where the worker's state is lost or doubted, it is read from the ledger again.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from pipeline.domain.batch import RecordBatch
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import Poll, PollId, apply_marker
from pipeline.domain.record import Marker, Vote, decode_batch

MAX_AGE_MS = 60_000  # a vote cast longer than this before its append time is implausible
MAX_AHEAD_MS = 5_000  # and one cast further than this after it
MAX_EDGES = 1_000  # of a poll, whose last signs a partition's ledger keeps: the first ones in the order of its log


class PartitionState(msgspec.Struct, frozen=True):
    """What deciding needs to know of a partition's log before `next_offset`."""

    next_offset: int
    clock_ms: int = 0  # the latest append time so far; epochs of vote ids follow it, so they never run backwards
    polls: Mapping[PollId, Poll] = {}


class Cell(NamedTuple):
    """One number on the air: the votes of an option in a window."""

    option_id: str
    window_start: int  # ms since the epoch


class VoteGroup(msgspec.Struct, frozen=True):
    """Votes of one poll and one epoch that passed rules 1 to 7, in the order of the log."""

    poll_id: PollId
    epoch: int
    votes_per_voter: int
    vote_ids: bytes  # 16 bytes for each vote
    voter_ids: list[str]
    cells: list[Cell]
    cell_of: list[int]  # for each vote, the index of its cell


class Chunk(msgspec.Struct, frozen=True):
    """What a run of the log adds to its partition's ledger, all or nothing."""

    partition: int
    first_offset: int
    next_offset: int
    clock_ms: int
    outcomes: Mapping[Outcome, int]  # of the records that are decided here
    poll_outcomes: Mapping[PollId, Mapping[Outcome, int]]  # the same, of polls that were open by then
    edges: Mapping[
        PollId, Mapping[str, int]
    ]  # edge id -> append time of its last vote; as `poll_outcomes`, all of them
    groups: list[VoteGroup]
    polls: list[Poll]  # polls whose state changed, as it is at the end of the chunk
    forgotten: list[tuple[PollId, int]]  # epochs of vote ids that no later record can meet


def fold(state: PartitionState, batch: RecordBatch) -> tuple[PartitionState, Chunk]:
    """Decide a batch that begins at the state's next offset; give the state after it, and what it adds.

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
        self.clock_ms = state.clock_ms
        self.before = state.polls
        self.polls = dict(state.polls)
        self.edges: dict[PollId, dict[str, int]] = {}
        self.gates: dict[tuple[str, str], Gate] = {poll_id: self.gate(poll) for poll_id, poll in state.polls.items()}
        self.outcomes: Counter[Outcome] = Counter()
        self.poll_outcomes: dict[PollId, Counter[Outcome]] = {}
        self.groups: dict[tuple[PollId, int], _Group] = {}
        self.forgotten: list[tuple[PollId, int]] = []

    def records(self, batch: RecordBatch) -> None:
        decoded = decode_batch(batch.values)
        gate_of = self.gates.get
        for record, key, append_ms in zip(decoded, batch.keys, batch.append_times, strict=True):
            if append_ms > self.clock_ms:  # noqa: PLR1730  # a call of max for each record is a tenth of this loop
                self.clock_ms = append_ms
            if isinstance(record, Vote):
                gate = gate_of((record.show_id, record.poll_id))
                if gate is not None:
                    gate.edges[record.edge_id] = append_ms
                outcome = refusal(record, key, append_ms, gate)
                if outcome is None:
                    self.group(gate).append(record)  # type: ignore[arg-type]  # without a gate the vote was refused
                else:
                    self.refuse(outcome, gate)
            elif record is None:
                self.outcomes[Outcome.MALFORMED] += 1
            else:
                self.marker(record)

    def refuse(self, outcome: Outcome, gate: "Gate | None") -> None:
        self.outcomes[outcome] += 1
        if gate is not None:
            self.poll_outcomes.setdefault(gate.poll.id, Counter())[outcome] += 1

    def marker(self, marker: Marker) -> None:
        self.outcomes[Outcome.MARKER] += 1
        poll_id = PollId(marker.show_id, marker.poll_id)
        poll = apply_marker(self.polls.get(poll_id), marker)
        if poll is not None and poll is not self.polls.get(poll_id):
            self.polls[poll_id] = poll
            self.gates[poll_id] = self.gate(poll)

    def gate(self, poll: Poll) -> "Gate":
        return Gate(poll, self.edges.setdefault(poll.id, {}))

    def group(self, gate: "Gate") -> list[Vote]:
        """Give the votes of the group that a vote belongs to now."""
        epoch = self.clock_ms // gate.horizon_ms if gate.horizon_ms else 0
        if gate.votes is None or gate.epoch != epoch:
            gate.epoch, gate.votes = epoch, self.begin_group(gate.poll.id, epoch)
        return gate.votes

    def begin_group(self, poll_id: PollId, epoch: int) -> list[Vote]:
        poll = self.polls[poll_id]
        if epoch > poll.epoch:
            # The epochs that a later vote can meet are its own and the one before: all older ones are forgotten.
            self.forgotten += [(poll_id, old) for old in (poll.epoch - 1, poll.epoch) if 0 <= old < epoch - 1]
            self.polls[poll_id] = msgspec.structs.replace(poll, epoch=epoch)
        return self.groups.setdefault((poll_id, epoch), _Group(poll)).votes

    def state(self, next_offset: int) -> PartitionState:
        return PartitionState(next_offset, self.clock_ms, self.polls)

    def chunk(self, batch: RecordBatch) -> Chunk:
        return Chunk(
            partition=batch.partition,
            first_offset=batch.first_offset,
            next_offset=batch.next_offset,
            clock_ms=self.clock_ms,
            outcomes=self.outcomes,
            poll_outcomes=self.poll_outcomes,
            edges={poll_id: edges for poll_id, edges in self.edges.items() if edges},
            groups=[group.finish(epoch) for (_, epoch), group in self.groups.items()],
            polls=[poll for poll_id, poll in self.polls.items() if poll is not self.before.get(poll_id)],
            forgotten=self.forgotten,
        )


class Gate:
    """What a poll asks of a vote, laid out for the inner loop; and, in a fold, what its votes leave behind."""

    __slots__ = ("edges", "ends_at", "epoch", "horizon_ms", "opened_at", "option_ids", "poll", "votes")

    def __init__(self, poll: Poll, edges: dict[str, int]) -> None:
        self.poll = poll
        self.edges = edges
        self.option_ids = poll.option_ids
        self.opened_at = poll.rules.opened_at
        self.ends_at = poll.ends_at
        self.horizon_ms = poll.rules.dedupe_horizon_ms or 0
        self.epoch = -1
        self.votes: list[Vote] | None = None


def refusal(vote: Vote, key: bytes | None, append_ms: int, gate: Gate | None) -> Outcome | None:
    """Apply rules 3 to 7 to a well-formed vote. None: it goes on to the ledger."""
    cast_at = vote.cast_at
    if key != vote.voter_id.encode():
        return Outcome.WRONG_KEY
    if gate is None or cast_at < gate.opened_at:
        return Outcome.POLL_NOT_OPEN
    if vote.option_id not in gate.option_ids:
        return Outcome.UNKNOWN_OPTION
    if cast_at >= gate.ends_at:
        return Outcome.LATE
    if not append_ms - MAX_AGE_MS <= cast_at <= append_ms + MAX_AHEAD_MS:
        return Outcome.IMPLAUSIBLE_TIME
    return None


class _Group:
    """A vote group while it grows."""

    def __init__(self, poll: Poll) -> None:
        self.poll = poll
        self.votes: list[Vote] = []

    def finish(self, epoch: int) -> VoteGroup:
        votes, size_ms = self.votes, self.poll.rules.window_ms
        # A vote's window is spelt out here: a call for each vote would cost as much as all the rest of this function.
        starts = [vote.cast_at - vote.cast_at % size_ms for vote in votes]
        cells = list(zip([vote.option_id for vote in votes], starts, strict=True))
        index = {cell: number for number, cell in enumerate(dict.fromkeys(cells))}
        return VoteGroup(
            poll_id=self.poll.id,
            epoch=epoch,
            votes_per_voter=self.poll.rules.votes_per_voter,
            vote_ids=bytes.fromhex("".join([vote.vote_id for vote in votes]).replace("-", "")),
            voter_ids=[vote.voter_id for vote in votes],
            cells=[Cell(*cell) for cell in index],
            cell_of=list(map(index.__getitem__, cells)),
        )


def votes_in(group: VoteGroup) -> Iterator[tuple[bytes, str, Cell]]:
    """Give each vote of a group: its id (16 bytes), its voter, its cell."""
    for index, (voter_id, cell) in enumerate(zip(group.voter_ids, group.cell_of, strict=True)):
        yield group.vote_ids[16 * index : 16 * index + 16], voter_id, group.cells[cell]
