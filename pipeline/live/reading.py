"""What `live` reads of the ledgers, in as few round trips as it takes: heads often, polls when they may have changed."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

from redis.asyncio import Redis

from pipeline.domain.fold import Cell
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import Poll, PollId
from pipeline.domain.result import PartitionReading
from pipeline.ledger.connection import ask, in_one_slot, unavailable_if_down
from pipeline.ledger.keys import Keys
from pipeline.ledger.ledger import read_poll
from pipeline.ledger.reader import LedgerReader
from pipeline.live.completeness import Position

FIELDS_AT_ONCE = 2_000  # of a windows hash: some 2 ms of Redis and of this process


@dataclass(frozen=True)
class Heads:
    """How far all partitions are folded, and how many polls each knows."""

    positions: tuple[Position, ...]
    polls: tuple[int, ...]

    @property
    def next_offsets(self) -> tuple[int, ...]:
        """The offsets alone."""
        return tuple(position.next_offset for position in self.positions)


class LiveReader:
    """Reads ledgers for the display. Each call raises ``UnavailableError`` while Redis is away."""

    def __init__(self, client: Redis, topic: str, partitions: int) -> None:
        self._client = client
        self._keys = [Keys(topic, partition) for partition in range(partitions)]
        self._ledgers = LedgerReader(client, topic, range(partitions))
        # What one transaction reads: all partitions, or in a Cluster each by itself.
        self._together = [[keys] for keys in self._keys] if in_one_slot(client) else [self._keys]

    async def heads(self) -> Heads:
        """Look how far the partitions are."""
        with unavailable_if_down():
            async with self._client.pipeline(transaction=False) as pipe:
                for keys in self._keys:
                    pipe.hmget(keys.head, ["next_offset", "clock_ms"])
                    pipe.scard(keys.polls)
                answers = await pipe.execute()
        heads, polls = answers[0::2], answers[1::2]
        return Heads(tuple(Position(int(head[0] or 0), int(head[1] or 0)) for head in heads), tuple(polls))

    async def polls(self) -> list[PollId]:
        """Name all polls that any partition knows."""
        return await self._ledgers.polls()

    async def read(self, poll_id: PollId, option_ids: Sequence[str], second: int) -> list[PartitionReading]:
        """Read a poll, with the votes of one second: each partition, and without a Cluster all of them, at one moment."""
        names = [_field(option_id, second) for option_id in option_ids]
        with unavailable_if_down():
            read = [self._read(some, poll_id, names or ["none"]) for some in self._together]
            answers = list(chain.from_iterable(await asyncio.gather(*read)))
        cells = [Cell(option_id, second) for option_id in option_ids]
        return [
            _reading(partition, answers[3 * partition : 3 * partition + 3], cells)
            for partition in range(len(self._keys))
        ]

    async def edges(self, poll_id: PollId) -> dict[str, int]:
        """Give when each edge's last vote for a poll was appended (ms since the epoch), in any partition."""
        with unavailable_if_down():
            async with self._client.pipeline(transaction=False) as pipe:
                for keys in self._keys:
                    pipe.hgetall(keys.edges(poll_id))
                answers = await pipe.execute()
        heard_at: dict[str, int] = {}
        for answer in answers:
            for edge_id, text in answer.items():
                edge, at = edge_id.decode(), int(text)
                heard_at[edge] = max(at, heard_at.get(edge, at))
        return heard_at

    async def _read(self, partitions: Sequence[Keys], poll_id: PollId, names: Sequence[str]) -> list[Any]:
        async with self._client.pipeline(transaction=True) as pipe:
            for keys in partitions:
                pipe.hmget(keys.head, ["next_offset", "clock_ms"])
                ask(pipe, "HGETALL", keys.poll(poll_id))
                pipe.hmget(keys.windows(poll_id), names)
            return await pipe.execute()

    async def seconds(self, poll_id: PollId, option_ids: Sequence[str], starts: range) -> Counter[Cell]:
        """Read the votes of some seconds, summed over the partitions."""
        votes: Counter[Cell] = Counter()
        cells = [Cell(option_id, start) for start in starts for option_id in option_ids]
        for first in range(0, len(cells), FIELDS_AT_ONCE):
            some = cells[first : first + FIELDS_AT_ONCE]
            names = [_field(cell.option_id, cell.window_start) for cell in some]
            for keys in self._keys:
                with unavailable_if_down():
                    numbers = await self._client.hmget(keys.windows(poll_id), names)
                for cell, number in zip(some, numbers, strict=True):
                    if number is not None:
                        votes[cell] += int(number)
        return votes


def _field(option_id: str, start: int) -> str:
    return f"{start}/{option_id}"


def _reading(
    partition: int,
    answers: Sequence[Any],
    cells: Sequence[Cell],
) -> PartitionReading:
    head, stored, last = answers
    next_offset = None if head[0] is None else int(head[0])
    if next_offset is None or not stored:
        return PartitionReading(partition, next_offset)
    totals, outcomes = {}, {}
    for field, number in stored.items():
        kind, _, name = field.decode().partition(":")
        if kind == "total":
            totals[name] = int(number)
        elif kind == "outcome":
            outcomes[Outcome(name)] = int(number)
    return PartitionReading(
        partition,
        next_offset,
        int(head[1] or 0),
        _poll(stored[b"rules"], stored[b"state"]),
        totals,
        outcomes,
        {cell: int(number) for cell, number in zip(cells, last, strict=False) if number is not None},
    )


@lru_cache(maxsize=1024)
def _poll(rules: bytes, state: bytes) -> Poll:
    """Read a poll; its text is the same in most partitions and most of the time."""
    return read_poll([rules, state])
