"""The ledger twice, behind one face: the model that the simulation runs on, and the script in a real Redis."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

from redis.asyncio import Redis

from pipeline.domain.fold import Chunk, PartitionState
from pipeline.domain.memory import VOTER_BYTES, count_bytes
from pipeline.domain.outcome import Outcome
from pipeline.domain.partition import Answer, PartitionTally
from pipeline.domain.poll import PollId
from pipeline.domain.record import VOTE_ID_BYTES
from pipeline.domain.result import PartitionReading
from pipeline.ledger.keys import Keys, poll_name
from pipeline.ledger.ledger import Ledger, read_poll
from pipeline.ledger.reader import LedgerReader
from tests.simulation.redis import SimulatedRedis

PARTITION = 3


class Book(Protocol):
    """What the contracts ask of a ledger."""

    async def create(self) -> None: ...

    async def apply(self, chunk: Chunk) -> tuple[Answer, int]:
        """Give the answer, and the ledger's next offset."""
        ...

    async def state(self) -> PartitionState | None: ...

    async def outcomes(self) -> dict[Outcome, int]: ...

    async def reading(self, poll_id: PollId) -> PartitionReading: ...

    async def edges(self, poll_id: PollId) -> dict[str, int]: ...

    async def remembered(self, poll_id: PollId) -> int:
        """Count the vote ids and voters that are remembered."""
        ...

    async def save(self) -> None:
        """Keep a copy."""
        ...

    async def roll_back(self) -> None:
        """Go back to the copy."""
        ...

    async def wipe(self) -> None:
        """Leave nothing, not even an empty ledger."""
        ...


class ModelBook:
    """``PartitionTally``, on the server of the simulation."""

    def __init__(self) -> None:
        self.redis = SimulatedRedis()
        self.redis.create(PARTITION, 0)

    @property
    def tally(self) -> PartitionTally:
        return self.redis.tallies.get(PARTITION) or PartitionTally()

    async def create(self) -> None:
        self.redis.create(PARTITION, 0)

    async def apply(self, chunk: Chunk) -> tuple[Answer, int]:
        reply = self.redis.apply(chunk)
        return reply.answer, reply.next_offset

    async def state(self) -> PartitionState | None:
        return self.redis.state(PARTITION)

    async def outcomes(self) -> dict[Outcome, int]:
        return {outcome: number for outcome, number in self.tally.outcomes.items() if number}

    async def reading(self, poll_id: PollId) -> PartitionReading:
        poll = self.tally.polls.get(poll_id)
        head = (PARTITION, self.redis.next_offset(PARTITION))
        if poll is None:
            return PartitionReading(*head)
        outcomes = {outcome: number for outcome, number in poll.outcomes.items() if number}
        return PartitionReading(*head, self.tally.clock_ms, poll.poll, dict(poll.totals), outcomes, dict(poll.cells))

    async def edges(self, poll_id: PollId) -> dict[str, int]:
        return self.tally.polls[poll_id].edges

    async def remembered(self, poll_id: PollId) -> int:
        return len(self.tally.polls[poll_id].memory)

    async def save(self) -> None:
        self.redis.save()

    async def roll_back(self) -> None:
        self.redis.roll_back(-1)

    async def wipe(self) -> None:
        self.redis.wipe()


class RedisBook:
    """``apply.lua``."""

    def __init__(self, client: Redis, topic: str) -> None:
        self.client, self.topic = client, topic
        self.ledger = Ledger(client, topic)
        self.reader = LedgerReader(client, topic, [PARTITION])
        self._saved: dict[bytes, bytes] = {}

    async def create(self) -> None:
        await self.ledger.create(PARTITION, 0)

    async def apply(self, chunk: Chunk) -> tuple[Answer, int]:
        reply = await self.ledger.apply(chunk)
        return reply.answer, reply.next_offset

    async def state(self) -> PartitionState | None:
        return await self.ledger.load(PARTITION)

    async def outcomes(self) -> dict[Outcome, int]:
        heads = await self.reader.heads()
        if not heads:
            return {}
        (head,) = heads
        assert head.base + sum(head.outcomes.values()) == head.next_offset
        return dict(head.outcomes)

    async def reading(self, poll_id: PollId) -> PartitionReading:
        (reading,) = await self.reader.read(poll_id)
        return reading

    async def edges(self, poll_id: PollId) -> dict[str, int]:
        found: dict[Any, Any] = await self.client.hgetall(
            f"{{{self.topic}/{PARTITION}}}:edges:{poll_id.show_id}/{poll_id.poll_id}"
        )
        return {edge_id.decode(): int(append_ms) for edge_id, append_ms in found.items()}

    async def remembered(self, poll_id: PollId) -> int:
        keys = Keys(self.topic, PARTITION)
        rules, state = await self.client.hmget(keys.poll(poll_id), ["rules", "state"])
        poll = read_poll([rules, state])  # type: ignore[list-item]  # redis-py's types are of all its modes
        count = 0
        for size in VOTER_BYTES.values():
            entries: Any = await self.client.lrange(keys.voters(poll_id, size), 0, -1)
            voters, step = b"".join(entries), size + count_bytes(poll.rules.votes_per_voter)
            count += len({voters[start : start + size] for start in range(0, len(voters), step)})
        count += await self.client.hlen(keys.votes_of(poll_id))
        async for key in self.client.scan_iter(match=f"{keys.slot}:ids:{poll_name(poll_id)}/*"):
            count += sum(map(len, await self.client.lrange(key, 0, -1))) // VOTE_ID_BYTES
        return count

    async def save(self) -> None:
        self._saved = {key: await self.client.dump(key) or b"" async for key in self._keys()}

    async def roll_back(self) -> None:
        await self.wipe()
        for key, content in self._saved.items():
            await self.client.restore(key, 0, content)

    async def wipe(self) -> None:
        async for key in self._keys():
            await self.client.delete(key)

    def _keys(self) -> AsyncIterator[bytes]:
        return self.client.scan_iter(match=f"{{{self.topic}/{PARTITION}}}:*")
