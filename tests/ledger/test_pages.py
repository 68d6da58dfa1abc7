"""What is remembered of votes is read from the ledger in pages of some size, one at a time, whatever chunks have added it."""

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from redis.asyncio import Redis

from pipeline.domain.fold import PartitionState, fold
from pipeline.domain.poll import PollId
from pipeline.domain.record import VOTE_ID_BYTES
from pipeline.ledger.keys import Keys
from pipeline.ledger.ledger import PAGE_BYTES, PAGE_ENTRIES, Ledger
from pipeline.settings import Settings
from tests.domain.logs import batch_of
from tests.domain.test_timelines import OPENED, at, vote

pytestmark = pytest.mark.real

POLL = PollId("finale", "song")
PARTITIONS = range(3)


@pytest.mark.parametrize(
    "added",
    [[6_000] * 40, [2] * 3_000, [2] * 1_000 + [6_000] * 20 + [2] * 1_000],
    ids=["many votes at a time", "few", "few, many and few again"],
)
async def test_a_worker_that_begins_reads_pages_of_some_size(
    added: list[int], client: Redis, found: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, random = Ledger(client, found.topic), Random(1)
    for partition in PARTITIONS:
        await ledger.create(partition, 0)
        records = replace(batch_of([at(0, OPENED), at(1, vote(1, 1))]), partition=partition)
        _, chunk = fold(PartitionState(0), records)
        await ledger.apply(chunk)
        (epoch,) = chunk.polls[0].epochs
        for votes in added:
            await client.rpush(Keys(found.topic, partition).ids(POLL, epoch), random.randbytes(VOTE_ID_BYTES * votes))
    pages, lrange, reading = list[int](), client.lrange, False

    async def noted(*asked: Any) -> Any:
        nonlocal reading
        assert not reading, "one page at a time"
        reading = True
        entries = await lrange(*asked)
        reading = False
        pages.append(sum(map(len, entries)))
        return entries

    monkeypatch.setattr(client, "lrange", noted)
    for state in await asyncio.gather(*map(ledger.load, PARTITIONS)):
        assert state is not None
        assert len(state.memory[POLL]) == 2 + sum(added)
    least, largest = VOTE_ID_BYTES * min(added), VOTE_ID_BYTES * max(added)
    assert max(pages) < (PAGE_BYTES + 2 * largest if least == largest else PAGE_ENTRIES * largest)
    assert len(pages) < len(PARTITIONS) * (30 + len(added) / PAGE_ENTRIES) + 2 * sum(pages) / PAGE_BYTES
