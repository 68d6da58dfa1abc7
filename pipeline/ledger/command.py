"""A chunk as the script takes it: the keys it touches, a msgpack blob that names them by index, and what is remembered."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from pipeline.domain.fold import MAX_EDGES, Cell, Chunk
from pipeline.domain.memory import VOTER_BYTES
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import Poll
from pipeline.domain.void import Void
from pipeline.ledger.keys import FORMAT, Keys, poll_name

# A script unpacks an argument for each edge, one of which each record may name, and two for each of MAX_EDGES at the most.
# The stack of Lua in Redis ends at 8,000.
MAX_RECORDS = 6000

_encode = msgspec.msgpack.Encoder().encode


class PollState(msgspec.Struct, frozen=True):
    """What of a poll's state is not in its rules, as the ledger keeps it."""

    closed_at: int | None
    final: bool
    epoch: int
    voids: tuple[Void, ...] = ()


class _KeyList:
    """Keys in the order of their first mention, with the type that each must have. Indexes are Lua's: from 1."""

    def __init__(self) -> None:
        self.index: dict[str, int] = {}
        self.types: list[str] = []

    def __call__(self, key: str, kind: str) -> int:
        index = self.index.get(key)
        if index is None:
            index = self.index[key] = len(self.index) + 1
            self.types.append(kind)
        return index


def command(topic: str, chunk: Chunk) -> tuple[list[str], list[bytes]]:
    """Give KEYS and ARGV of the script for a chunk.

    Raises:
        ValueError: it is of more records than a script can take.
    """
    if chunk.next_offset - chunk.first_offset > MAX_RECORDS:
        raise ValueError(f"a chunk of {chunk.next_offset - chunk.first_offset} records; {MAX_RECORDS} at the most")
    names, key = Keys(topic, chunk.partition), _KeyList()
    key(names.head, "hash")
    key(names.polls, "set")
    lists = _lists(chunk, names)
    blob = {
        "format": FORMAT,
        "first_offset": chunk.first_offset,
        "next_offset": chunk.next_offset,
        "clock_ms": chunk.clock_ms,
        "polls": [_poll(poll, names, key) for poll in chunk.polls],
        "numbers": [{"key": key(name, "hash"), "more": more} for name, more in _numbers(chunk, names)],
        "edges": [
            {"key": key(names.edges(poll_id), "hash"), "ids": list(edges), "times": list(map(str, edges.values()))}
            for poll_id, edges in chunk.edges.items()
        ],
        "max_edges": MAX_EDGES,
        "remembered": [key(name, "list") for name, _ in lists],
        "votes_of": [
            {"key": key(names.votes_of(poll_id), "hash"), "votes": remembered.votes_of}
            for poll_id, remembered in chunk.remembered
            if remembered.votes_of
        ],
        "forgotten": [key(names.ids(poll_id, epoch), "list") for poll_id, epoch in chunk.forgotten]
        + [index for poll in chunk.polls if poll.final for index in _memory(poll, names, key)],
        "types": key.types,  # last: the list is complete only now
    }
    # Redis' msgpack knows no binary type: what is remembered stands beside the blob.
    return list(key.index), [_encode(blob), *(content for _, content in lists)]


def _lists(chunk: Chunk, names: Keys) -> list[tuple[str, bytes]]:
    """Give the lists that get longer, each with what is put at its end."""
    found = []
    for poll_id, remembered in chunk.remembered:
        found.append((names.ids(poll_id, remembered.epoch), remembered.vote_ids))
        found += [(names.voters(poll_id, size), voters) for size, voters in remembered.voters.items()]
    return [(name, content) for name, content in found if content]


def _numbers(chunk: Chunk, names: Keys) -> Iterator[tuple[str, dict[str, int]]]:
    """Give the hashes whose numbers grow, each with what is added to its fields."""
    yield names.head, _outcomes(chunk.outcomes)
    for poll_id, outcomes in chunk.poll_outcomes.items():
        yield names.poll(poll_id), _outcomes(outcomes)
    for poll_id, cells in chunk.counted.items():
        yield names.poll(poll_id), _totals(cells)
        yield names.windows(poll_id), _windows(cells)


def _outcomes(outcomes: Mapping[Outcome, int]) -> dict[str, int]:
    return {f"outcome:{outcome}": number for outcome, number in outcomes.items() if number}


def _totals(cells: Mapping[Cell, int]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for cell, votes in cells.items():
        field = f"total:{cell.option_id}"
        totals[field] = totals.get(field, 0) + votes
    return totals


def _windows(cells: Mapping[Cell, int]) -> dict[str, int]:
    return {f"{cell.window_start}/{cell.option_id}": votes for cell, votes in cells.items()}


def _poll(poll: Poll, names: Keys, key: _KeyList) -> dict[str, Any]:
    return {
        "key": key(names.poll(poll.id), "hash"),
        "name": poll_name(poll.id),
        "rules": msgspec.json.encode(poll.rules).decode(),
        "state": msgspec.json.encode(PollState(poll.closed_at, poll.final, poll.epoch, poll.voids)).decode(),
        "status": poll.status,
    }


def _memory(poll: Poll, names: Keys, key: _KeyList) -> list[int]:
    """Name what remembers single votes of a poll: after its final marker every vote is late, so nothing asks again."""
    return [
        *(key(names.ids(poll.id, epoch), "list") for epoch in poll.epochs),
        *(key(names.voters(poll.id, size), "list") for size in VOTER_BYTES.values()),
        key(names.votes_of(poll.id), "hash"),
    ]
