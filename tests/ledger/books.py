"""The ledger twice, behind one face: the model in plain Python, and the script in a real Redis."""

from typing import Any, Protocol

from redis.asyncio import Redis

from pipeline.domain.fold import Chunk, PartitionState
from pipeline.domain.outcome import Outcome
from pipeline.domain.partition import Answer, PartitionTally
from pipeline.domain.poll import PollId
from pipeline.domain.result import PartitionReading
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.reader import LedgerReader

PARTITION = 3


class Book(Protocol):
    """What the contracts ask of a ledger."""

    async def apply(self, chunk: Chunk) -> Answer: ...

    async def state(self) -> PartitionState | None: ...

    async def outcomes(self) -> dict[Outcome, int]: ...

    async def reading(self, poll_id: PollId) -> PartitionReading: ...

    async def edges(self, poll_id: PollId) -> dict[str, int]: ...

    async def remembered(self, poll_id: PollId) -> int:
        """Count the vote ids and voters that are remembered."""
        ...


class ModelBook:
    """``PartitionTally``."""

    def __init__(self) -> None:
        self.tally = PartitionTally()

    async def apply(self, chunk: Chunk) -> Answer:
        return self.tally.apply(chunk)

    async def state(self) -> PartitionState:
        return self.tally.state()

    async def outcomes(self) -> dict[Outcome, int]:
        return {outcome: number for outcome, number in self.tally.outcomes.items() if number}

    async def reading(self, poll_id: PollId) -> PartitionReading:
        poll = self.tally.polls.get(poll_id)
        head = (PARTITION, self.tally.next_offset)
        if poll is None:
            return PartitionReading(*head)
        outcomes = {outcome: number for outcome, number in poll.outcomes.items() if number}
        return PartitionReading(*head, self.tally.clock_ms, poll.poll, dict(poll.totals), outcomes, dict(poll.cells))

    async def edges(self, poll_id: PollId) -> dict[str, int]:
        return self.tally.polls[poll_id].edges

    async def remembered(self, poll_id: PollId) -> int:
        poll = self.tally.polls[poll_id]
        return sum(map(len, poll.seen.values())) + sum(1 for votes in poll.votes_of.values() if votes)


class RedisBook:
    """``apply.lua``."""

    def __init__(self, client: Redis, topic: str) -> None:
        self.client, self.topic = client, topic
        self.ledger = Ledger(client, topic)
        self.reader = LedgerReader(client, topic, [PARTITION])

    async def apply(self, chunk: Chunk) -> Answer:
        return (await self.ledger.apply(chunk)).answer

    async def state(self) -> PartitionState | None:
        return await self.ledger.load(PARTITION)

    async def outcomes(self) -> dict[Outcome, int]:
        (head,) = await self.reader.heads()
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
        count = 0
        show, poll = poll_id
        slot = f"{{{self.topic}/{PARTITION}}}"
        async for key in self.client.scan_iter(match=f"{slot}:ids:{show}/{poll}/*"):
            count += await self.client.scard(key)
        return count + await self.client.hlen(f"{slot}:voters:{show}/{poll}")
