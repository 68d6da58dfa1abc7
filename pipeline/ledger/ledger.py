"""The writer's side of the ledgers: load a partition's state, create a ledger, apply a chunk."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any

import msgspec
from redis.asyncio import Redis

from pipeline.domain.fold import Chunk, PartitionState
from pipeline.domain.memory import VOTER_BYTES, PollMemory, Remembered
from pipeline.domain.partition import Answer
from pipeline.domain.poll import Poll, open_poll
from pipeline.domain.record import PollOpened
from pipeline.errors import RedisMismatchError
from pipeline.ledger.command import PollState, command
from pipeline.ledger.connection import ask, unavailable_if_down
from pipeline.ledger.keys import FORMAT, Keys, parse_poll_name

_APPLY = (files("pipeline.ledger") / "apply.lua").read_text("utf-8")

_CREATE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'format', ARGV[1], 'base', ARGV[2], 'next_offset', ARGV[2], 'clock_ms', 0)
return 1
"""

# All keys of a partition, whatever they are, at once: what was left of a ledger would be counted into the next one.
_RESET = """
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('UNLINK', key) end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[1], 'format', ARGV[2], 'base', ARGV[3], 'next_offset', ARGV[3], 'clock_ms', 0)
end
return 1
"""

SCANNED_FIELDS = 1000
# A list is read in pages of about so many bytes, whose entries each have what a chunk added, from some bytes to 300 kB. So many
# are taken in at once, too, which takes some milliseconds.
PAGE_BYTES = 256 << 10
PAGE_ENTRIES = 200  # at the most


@dataclass(frozen=True)
class Reply:
    """What the ledger said of a chunk."""

    answer: Answer
    next_offset: int  # the ledger's; -1: there is no ledger


class Ledger:
    """The ledgers of a topic's partitions, in Redis. Each call raises ``UnavailableError`` while Redis is away."""

    def __init__(self, client: Redis, topic: str) -> None:
        self._client = client
        self._topic = topic
        self._apply = client.register_script(_APPLY)
        self._create = client.register_script(_CREATE)
        self._reset = client.register_script(_RESET)
        self._one_page = asyncio.Lock()  # at a time, whatever the number of partitions: it may be of megabytes

    async def next_offset(self, partition: int) -> int | None:
        """Give the offset of the record to fold next; None: there is no ledger."""
        with unavailable_if_down():
            found = await self._client.hget(Keys(self._topic, partition).head, "next_offset")
        return None if found is None else int(found)

    async def load(self, partition: int, kept: PartitionState | None = None) -> PartitionState | None:
        """Read what the fold needs to go on; None: there is no ledger.

        Where the ledger is at the place of a state that was `kept`, that is it, and its memory is not read.

        Raises:
            RedisMismatchError: the ledger is of another format.
        """
        with unavailable_if_down():
            while True:
                state = await self._load(partition)
                if state is None:
                    return None
                if kept is not None and kept.is_where(state):
                    return kept
                await self._recall(partition, state)
                # Read in several calls, but of one moment: whatever is changed in a ledger moves its next offset.
                if await self.next_offset(partition) == state.next_offset:
                    return state

    async def _load(self, partition: int) -> PartitionState | None:
        """Read all of a state but its memory, as of one moment."""
        keys = Keys(self._topic, partition)
        while True:
            names: list[bytes] = sorted(await self._client.smembers(keys.polls))  # type: ignore[arg-type]
            polls = [parse_poll_name(name.decode()) for name in names]
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.hmget(keys.head, "format", "next_offset", "clock_ms", "base")
                ask(pipe, "SMEMBERS", keys.polls)
                for poll_id in polls:
                    pipe.hmget(keys.poll(poll_id), "rules", "state")
                head, names_now, *states = await pipe.execute()
            if sorted(names_now) == names:
                break
        if head[1] is None:
            return None
        if int(head[0]) != FORMAT:
            raise RedisMismatchError(f"{keys.head} has format {int(head[0])}, this worker needs {FORMAT}")
        known = dict(zip(polls, map(read_poll, states), strict=True))
        return PartitionState(int(head[1]), int(head[2]), known, base=int(head[3]))

    async def _recall(self, partition: int, state: PartitionState) -> None:
        """Read the memory of the polls that are not final."""
        keys = Keys(self._topic, partition)
        for poll_id, poll in state.polls.items():
            if poll.final:
                continue
            memory = state.memory[poll_id] = PollMemory(poll.rules.votes_per_voter)
            for epoch in poll.epochs:
                await self._take_in(memory, keys.ids(poll_id, epoch), partial(Remembered, epoch=epoch))
            for size in VOTER_BYTES.values():
                await self._take_in(memory, keys.voters(poll_id, size), partial(_voters, size))
            async for votes_of in self._parts(keys.votes_of(poll_id)):
                memory.recall(Remembered(votes_of=votes_of))

    async def _take_in(self, memory: PollMemory, key: str, remembered: Callable[[bytes], Remembered]) -> None:
        """Let a memory take in a list, a page at a time. Each entry is a run of the same things."""
        start, count = 0, 1
        while True:
            async with self._one_page:
                entries: Any = await self._client.lrange(key, start, start + count - 1)
                for piece in _pieces(entries):
                    memory.recall(remembered(piece))
                    await asyncio.sleep(0)  # others have votes to fold
            if len(entries) < count:
                return
            start, count = start + count, _fitting(entries)

    async def _parts(self, key: str) -> AsyncIterator[dict[str, int]]:
        """Read a hash, some fields at a time."""
        cursor = 0
        while True:
            found: Any = await self._client.hscan(key, cursor, count=SCANNED_FIELDS)
            cursor, fields = found
            yield {name.decode(): int(number) for name, number in fields.items()}
            if not cursor:  # 0 is Redis' word for the end
                return

    async def create(self, partition: int, base: int) -> None:
        """Make an empty ledger that begins at an offset, unless there is one."""
        with unavailable_if_down():
            await self._create(keys=[Keys(self._topic, partition).head], args=[FORMAT, base])

    async def reset(self, partition: int, base: int | None) -> None:
        """Throw a ledger away; and begin a new one at an offset, unless that is left to the workers."""
        keys = Keys(self._topic, partition)
        with unavailable_if_down():
            await self._reset(keys=[keys.head], args=[f"{keys.slot}:*", FORMAT, "" if base is None else base])

    async def apply(self, chunk: Chunk) -> Reply:
        """Apply a chunk, all or nothing.

        After ``UnavailableError`` it may or may not have been applied: ``load`` tells.

        Raises:
            RedisMismatchError: a key of ours holds something else, or the ledger is of another format.
        """
        keys, arguments = command(self._topic, chunk)
        with unavailable_if_down():
            answer, next_offset = await self._apply(keys=keys, args=arguments)
        return Reply(Answer(answer.decode()), next_offset)


def _voters(size: int, voters: bytes) -> Remembered:
    return Remembered(voters={size: voters})


def _fitting(entries: list[bytes]) -> int:
    """Say how many entries are to be read next, after these: they may be larger, so not very many more."""
    return min(PAGE_ENTRIES, 2 * len(entries), 1 + PAGE_BYTES * len(entries) // max(1, sum(map(len, entries))))


def _pieces(entries: list[bytes]) -> Iterator[bytes]:
    """Join entries, until they are large enough."""
    first = size = 0
    for end, entry in enumerate(entries, 1):
        size += len(entry)
        if size >= PAGE_BYTES or end == len(entries):
            yield b"".join(entries[first:end])
            first, size = end, 0


def read_poll(fields: list[bytes]) -> Poll:
    """Put a poll together from the fields `rules` and `state` of its hash."""
    rules = msgspec.json.decode(fields[0], type=PollOpened)
    state = msgspec.json.decode(fields[1], type=PollState)
    return msgspec.structs.replace(
        open_poll(rules), closed_at=state.closed_at, final=state.final, epoch=state.epoch, voids=state.voids
    )
