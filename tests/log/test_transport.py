"""The batch transport by itself, in an ordinary Faust app: batches, backlog, positions."""

import asyncio
import gc
from collections.abc import Collection, Mapping
from typing import Any

import pytest
from faust.types import TP

from pipeline.domain.batch import RecordBatch
from pipeline.log.app import make_app
from pipeline.log.publisher import Publisher, partition_of
from pipeline.log.transport import Backlog, BatchSchema
from pipeline.settings import Settings


class Held:
    """What a backlog counts: anything with a size."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes


async def test_the_backlog_closes_at_its_limit_and_opens_at_half() -> None:
    backlog = Backlog(100)
    held = [Held(40), Held(40), Held(40)]
    for batch in held:
        backlog.hold(batch)  # type: ignore[arg-type]
    del batch
    assert (backlog.held_bytes, await backlog.has_room(0.01)) == (120, False)
    held.pop()
    assert (backlog.held_bytes, await backlog.has_room(0.01)) == (80, False)
    held.pop()
    gc.collect()
    assert (backlog.held_bytes, await backlog.has_room(0.01)) == (40, True)


async def test_what_is_garbage_in_a_cycle_does_not_keep_the_backlog_closed() -> None:
    backlog, left = Backlog(100), [Held(120)]
    backlog.hold(left[0])  # type: ignore[arg-type]
    left.append(left)  # type: ignore[arg-type]  # as what a cancelled task leaves: its frame and its error know each other
    assert not await backlog.has_room(0.01)
    del left
    assert backlog.held_bytes == 120
    assert await backlog.has_room(0.01)


@pytest.mark.real
@pytest.mark.parametrize("position", [None, 7])
async def test_an_agent_gets_whole_batches_from_where_it_wants(topic: Settings, position: int | None) -> None:
    records = [(b"voter", f"value {number}".encode()) for number in range(1000)]
    partition = partition_of(b"voter", topic.partitions)
    async with Publisher(topic) as publisher:
        await publisher.publish_many(records)
    app = make_app(topic, "look")

    async def positions(partitions: Collection[TP]) -> Mapping[TP, int]:
        return {} if position is None else {tp: position for tp in partitions if tp.partition == partition}

    app.positions = positions
    got: list[RecordBatch] = []
    complete = asyncio.Event()

    @app.agent(app.topic(topic.topic, schema=BatchSchema()))  # type: ignore[untyped-decorator]
    async def look(stream: Any) -> None:
        async for event in stream.noack().events():
            got.append(event.value.read())
            event.ack()
            if got[-1].next_offset == len(records):
                complete.set()

    running = asyncio.create_task(app.start())
    try:
        async with asyncio.timeout(40):
            await complete.wait()
    finally:
        await app.stop()
        await running
    first = position or 0
    assert got[0].first_offset == first
    assert [value for batch in got for value in batch.values] == [value for _, value in records[first:]]
    assert len(got) < 20, "batches, not records"
    assert {batch.partition for batch in got} == {partition}
