"""A chunk as the script takes it: the keys it touches, a msgpack blob that names them by index, vote ids and voters."""

from base64 import urlsafe_b64decode
from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.domain.fold import MAX_EDGES, Chunk, VoteGroup
from pipeline.domain.poll import Poll, PollId
from pipeline.domain.void import Void
from pipeline.ledger.keys import FORMAT, Keys, poll_name

# A script unpacks up to two arguments for each vote, and Lua's stack in Redis ends at 8,000.
MAX_RECORDS = 3000

# A bucket that has grown to this size takes no more: what belongs there stands apart, in a set or hash of single entries. So
# neither a long poll nor a choice of ids can make a script slow: Redis' Lua hashes every byte of each bucket that it reads, at
# some 2 ns. With even ids that begins past two million votes of a poll in one partition.
FULL_BUCKET_BYTES = 500

LONGEST_PACKED_VOTER = 22  # characters; 6 bits each and a 1 before them fit into 17 bytes

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
        "forgotten": [index for poll_id, epoch in chunk.forgotten for index in _ids(poll_id, epoch, names, key)]
        + [index for poll in chunk.polls if poll.final for index in _memory(poll, names, key)],
        "types": key.types,  # last: the list is complete only now
    }
    # Redis' msgpack knows no binary type: the ids stand beside the blob, two strings for each group.
    ids = [packed for group in chunk.groups for packed in (group.vote_ids, pack_voters(group.voter_ids))]
    return list(key.index), [_encode(blob), *ids]


def pack_voters(voter_ids: Sequence[str]) -> bytes:
    """Write voter ids in 18 bytes each: a zero byte and then, right-aligned, a 1 and the 6 bits of each character.

    The alphabet of voter ids is that of base64url; the 1 tells where an id begins, so no two have the same bytes. Ids of
    more than ``LONGEST_PACKED_VOTER`` characters do not fit, and are all zeros here.
    """
    if set(map(len, voter_ids)) == {LONGEST_PACKED_VOTER}:  # as the edge makes them
        return urlsafe_b64decode("AB" + "AB".join(voter_ids))
    return urlsafe_b64decode(
        "".join(
            [("B" + voter_id if len(voter_id) <= LONGEST_PACKED_VOTER else "").rjust(24, "A") for voter_id in voter_ids]
        )
    )


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
    ids, more_ids = _ids(poll_id, group.epoch, names, key)
    ids_before, more_ids_before = _ids(poll_id, group.epoch - 1, names, key) if group.epoch else (0, 0)
    voters, more_voters = _voters(poll_id, names, key)
    return {
        "poll": key(names.poll(poll_id), "hash"),
        "windows": key(names.windows(poll_id), "hash"),
        "ids": ids,
        "more_ids": more_ids,
        "ids_before": ids_before,
        "more_ids_before": more_ids_before,
        "voters": voters,
        "more_voters": more_voters,
        "horizon": group.epoch > 0,
        "full_bytes": FULL_BUCKET_BYTES,
        "votes_per_voter": group.votes_per_voter,
        "count_bytes": count_bytes(group.votes_per_voter),
        "size": len(group.voter_ids),
        "long_voters": _long_voters(group.voter_ids),
        "cells": group.cells,
        "cell_of": group.cell_of,
    }


def _long_voters(voter_ids: Sequence[str]) -> dict[int, str]:
    """Give those that are not packed, by their place in the group, from 1."""
    if max(map(len, voter_ids)) <= LONGEST_PACKED_VOTER:
        return {}
    return {place: voter for place, voter in enumerate(voter_ids, start=1) if len(voter) > LONGEST_PACKED_VOTER}


def count_bytes(votes_per_voter: int) -> int:
    """Give the size of a voter's count of votes: none where a voter has one vote and either stands there or does not."""
    if votes_per_voter == 1:
        return 0
    return 1 if votes_per_voter < 1 << 8 else 3


def _ids(poll_id: PollId, epoch: int, names: Keys, key: _KeyList) -> tuple[int, int]:
    return key(names.ids(poll_id, epoch), "hash"), key(names.more_ids(poll_id, epoch), "set")


def _voters(poll_id: PollId, names: Keys, key: _KeyList) -> tuple[int, int]:
    return key(names.voters(poll_id), "hash"), key(names.more_voters(poll_id), "hash")


def _memory(poll: Poll, names: Keys, key: _KeyList) -> list[int]:
    """Name what remembers single votes of a poll: after its final marker every vote is late, so nothing asks again."""
    return [
        *_ids(poll.id, poll.epoch, names, key),
        *(_ids(poll.id, poll.epoch - 1, names, key) if poll.epoch else ()),
        *_voters(poll.id, names, key),
    ]
