"""A chunk as the script takes it: the keys it touches, a msgpack blob that names them by index, and the vote ids."""

from typing import Any

import msgspec

from pipeline.domain.fold import MAX_EDGES, Chunk, VoteGroup
from pipeline.domain.poll import Poll, PollId
from pipeline.domain.void import Void
from pipeline.ledger.keys import FORMAT, Keys, poll_name

# A script unpacks up to two arguments for each vote, and Lua's stack in Redis ends at 8,000.
MAX_RECORDS = 3000

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
    blob = {
        "format": FORMAT,
        "first_offset": chunk.first_offset,
        "next_offset": chunk.next_offset,
        "clock_ms": chunk.clock_ms,
        "outcomes": chunk.outcomes,
        "polls": [_poll(poll, names, key) for poll in chunk.polls],
        "poll_outcomes": [
            {"key": key(names.poll(poll_id), "hash"), "outcomes": outcomes}
            for poll_id, outcomes in chunk.poll_outcomes.items()
        ],
        "edges": [
            {"key": key(names.edges(poll_id), "hash"), "ids": list(edges), "times": list(map(str, edges.values()))}
            for poll_id, edges in chunk.edges.items()
        ],
        "max_edges": MAX_EDGES,
        "groups": [_group(group, names, key) for group in chunk.groups],
        "forgotten": [key(names.ids(poll_id, epoch), "set") for poll_id, epoch in chunk.forgotten]
        + [index for poll in chunk.polls if poll.final for index in _memory(poll, names, key)],
        "types": key.types,  # last: the list is complete only now
    }
    # Redis' msgpack knows no binary type: the vote ids stand beside the blob, a string for each group.
    return list(key.index), [_encode(blob), *(group.vote_ids for group in chunk.groups)]


def _poll(poll: Poll, names: Keys, key: _KeyList) -> dict[str, Any]:
    return {
        "key": key(names.poll(poll.id), "hash"),
        "name": poll_name(poll.id),
        "rules": msgspec.json.encode(poll.rules).decode(),
        "state": msgspec.json.encode(PollState(poll.closed_at, poll.final, poll.epoch, poll.voids)).decode(),
        "status": poll.status,
    }


def _group(group: VoteGroup, names: Keys, key: _KeyList) -> dict[str, Any]:
    poll_id: PollId = group.poll_id
    return {
        "poll": key(names.poll(poll_id), "hash"),
        "windows": key(names.windows(poll_id), "hash"),
        "voters": key(names.voters(poll_id), "hash"),
        "now": key(names.ids(poll_id, group.epoch), "set"),
        "before": key(names.ids(poll_id, group.epoch - 1), "set") if group.epoch else 0,
        "horizon": group.epoch > 0,
        "votes_per_voter": group.votes_per_voter,
        "voter_ids": group.voter_ids,
        "cells": group.cells,
        "cell_of": group.cell_of,
    }


def _memory(poll: Poll, names: Keys, key: _KeyList) -> list[int]:
    """Name what remembers single votes of a poll: after its final marker every vote is late, so nothing asks again."""
    return [
        key(names.ids(poll.id, poll.epoch), "set"),
        *([key(names.ids(poll.id, poll.epoch - 1), "set")] if poll.epoch else []),
        key(names.voters(poll.id), "hash"),
    ]
