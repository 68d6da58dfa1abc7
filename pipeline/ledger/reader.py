"""The readers' side of the ledgers: plain reads, no script, no lock. What is read of a partition is one consistent state."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass

from redis.asyncio import Redis

from pipeline.domain.fold import Cell
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import PollId
from pipeline.domain.result import PartitionReading
from pipeline.ledger.connection import ask, connect, unavailable_if_down
from pipeline.ledger.keys import Keys, parse_poll_name
from pipeline.ledger.ledger import read_poll
from pipeline.settings import Settings


@dataclass(frozen=True)
class Head:
    """How far a partition has been folded. `base` + the sum of `outcomes` = `next_offset`."""

    partition: int
    base: int
    next_offset: int
    clock_ms: int
    outcomes: Mapping[Outcome, int]


class LedgerReader:
    """Reads the ledgers of a topic. Each call raises ``UnavailableError`` while Redis is away."""

    def __init__(self, client: Redis, topic: str, partitions: Iterable[int]) -> None:
        self._client = client
        self._topic = topic
        self._partitions = list(partitions)

    async def heads(self) -> list[Head]:
        """Read the heads of those partitions that have a ledger."""
        with unavailable_if_down():
            async with self._client.pipeline(transaction=False) as pipe:
                for partition in self._partitions:
                    pipe.hgetall(Keys(self._topic, partition).head)
                answers = await pipe.execute()
        return [_head(partition, fields) for partition, fields in zip(self._partitions, answers, strict=True) if fields]

    async def polls(self) -> list[PollId]:
        """Name all polls that any partition knows."""
        with unavailable_if_down():
            async with self._client.pipeline(transaction=False) as pipe:
                for partition in self._partitions:
                    pipe.smembers(Keys(self._topic, partition).polls)
                answers = await pipe.execute()
        return [parse_poll_name(name) for name in sorted({name.decode() for names in answers for name in names})]

    async def read(self, poll_id: PollId, *, windows: bool = True) -> list[PartitionReading]:
        """Read a poll from all partitions, with or without its votes per window."""
        return [reading for _, reading in await self.read_with_heads(poll_id, windows=windows)]

    async def read_with_heads(
        self, poll_id: PollId, *, windows: bool = True
    ) -> list[tuple[Head | None, PartitionReading]]:
        """Read the same, each with the head of its partition at that very moment. None: there is no ledger."""
        with unavailable_if_down():
            return [await self._read(partition, poll_id, windows=windows) for partition in self._partitions]

    async def _read(self, partition: int, poll_id: PollId, *, windows: bool) -> tuple[Head | None, PartitionReading]:
        keys = Keys(self._topic, partition)
        async with self._client.pipeline(transaction=True) as pipe:
            ask(pipe, "HGETALL", keys.head)
            ask(pipe, "HGETALL", keys.poll(poll_id))
            if windows:
                ask(pipe, "HGETALL", keys.windows(poll_id))
            stored, fields, *cells = await pipe.execute()
        head = _head(partition, stored) if stored else None
        if head is None or not fields:
            return head, PartitionReading(partition, None if head is None else head.next_offset)
        return head, PartitionReading(
            partition,
            head.next_offset,
            head.clock_ms,
            read_poll([fields[b"rules"], fields[b"state"]]),
            _numbers(fields, "total:"),
            {Outcome(name): number for name, number in _numbers(fields, "outcome:").items()},
            {_cell(name): int(number) for name, number in cells[0].items()} if cells else {},
        )


@contextlib.asynccontextmanager
async def open_ledgers(settings: Settings) -> AsyncIterator[LedgerReader]:
    """Open all ledgers of a topic for reading."""
    client = connect(settings)
    try:
        yield LedgerReader(client, settings.topic, range(settings.partitions))
    finally:
        await client.aclose()


def _head(partition: int, fields: Mapping[bytes, bytes]) -> Head:
    outcomes = {Outcome(name): number for name, number in _numbers(fields, "outcome:").items()}
    return Head(partition, int(fields[b"base"]), int(fields[b"next_offset"]), int(fields[b"clock_ms"]), outcomes)


def _numbers(fields: Mapping[bytes, bytes], prefix: str) -> dict[str, int]:
    start = prefix.encode()
    return {name[len(start) :].decode(): int(number) for name, number in fields.items() if name.startswith(start)}


def _cell(name: bytes) -> Cell:
    start, _, option_id = name.decode().partition("/")
    return Cell(option_id, int(start))
