"""How long the count stands still when a worker dies or leaves, and when Redis forgets: `python -m bench.recovery`.

Three measurements, each with its answer checked against the oracle:

- a worker of two gets `kill -9` under load: seconds until no partition is more than half a second of votes behind;
- a worker of two is told to leave under load: the longest time in which a partition's ledger did not move;
- Redis is flushed behind a backlog that was folded: seconds until all of it is folded again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import typer

from bench.measuring import console, fill, report, settings_of, spread, system, until, worker, workload
from pipeline.domain.poll import PollId
from pipeline.domain.result import merge
from pipeline.ledger.connection import connect
from pipeline.ledger.reader import LedgerReader, open_ledgers
from pipeline.local.process import Child
from pipeline.local.stack import LocalStack, Part, Service
from pipeline.log.offsets import LogOffsets
from pipeline.log.publisher import Publisher
from pipeline.log.topics import open_topics
from pipeline.settings import Settings
from pipeline.show.expectation import Expectation
from pipeline.show.player import Player

BEFORE_S, AFTER_S = 6.0, 14.0  # of the show, around the moment that is measured

Act = Callable[[Child], Awaitable[None]]


def main(per_second: int = 20_000, backlog: int = 1_000_000, rounds: int = 3, partitions: int = 12) -> None:
    """Measure; each round has a topic and workers of its own."""
    with system(Part.KAFKA, Part.REDIS) as stack:
        rows = []
        for number in range(1, rounds + 1):
            killed = settings_of(stack, f"bench-killed-{number}", partitions=partitions)
            left = settings_of(stack, f"bench-left-{number}", partitions=partitions)
            flushed = settings_of(stack, f"bench-flushed-{number}", partitions=partitions)
            rows.append(
                {
                    "kill_9_caught_up_s": asyncio.run(_under_load(stack, killed, per_second, _kill))[0],
                    "hand_over_stand_still_s": asyncio.run(_under_load(stack, left, per_second, _leave))[1],
                    "flush_folded_again_s": asyncio.run(_flush(stack, flushed, backlog)),
                }
            )
            console.print(rows[-1], highlight=False)
    more = {name: spread([row[name] for row in rows]) for name in rows[0]}
    report("recovery", rows, {"per_second": per_second, "backlog": backlog, **more})


async def _kill(child: Child) -> None:
    await asyncio.to_thread(child.kill)


async def _leave(child: Child) -> None:
    await asyncio.to_thread(child.stop)


async def _under_load(stack: LocalStack, found: Settings, per_second: int, act: Act) -> tuple[float, float]:
    """Take one of two workers away; give the seconds until caught up, and the longest stand-still of a partition."""
    async with open_topics(found) as topics:
        await topics.create()
    services = [worker("tally", found, when_ready=True), worker("tally", found, when_ready=True)]
    children = [
        await asyncio.to_thread(stack.start_service, _numbered(service, number))
        for number, service in enumerate(services)
    ]
    script = workload(int(per_second * (BEFORE_S + AFTER_S)), per_second)
    try:
        async with Publisher(found) as publisher, open_ledgers(found) as reader, LogOffsets(found) as offsets:
            playing = asyncio.create_task(Player(script, 1, publisher).play(closes=False))
            await asyncio.sleep(BEFORE_S)
            watch = _Watch(reader, offsets, behind=per_second // 2)
            watching = asyncio.create_task(watch.run())
            began = time.monotonic()
            await act(children[0])
            expected = await playing
            await until(lambda: _folded(reader, expected), "all folded")
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await _check(reader, expected)
            return max(0.0, watch.last_behind - began), watch.longest_s
    finally:
        for child in children:
            await asyncio.to_thread(child.stop)


def _numbered(service: Service, number: int) -> Service:
    """Give a worker a name of its own among those of its topic."""
    return replace(service, name=f"{service.name}-{number}")


class _Watch:
    """Looks at the ledgers every 20 ms: when the count was last behind, and how long a partition stood still."""

    def __init__(self, reader: LedgerReader, offsets: LogOffsets, *, behind: int) -> None:
        self._reader, self._offsets, self._behind = reader, offsets, behind
        self.last_behind = 0.0  # monotonic
        self.longest_s = 0.0

    async def run(self) -> None:
        """Watch until cancelled."""
        moved: dict[int, tuple[int, float]] = {}
        while True:
            ends, heads, now = await self._offsets.end(), await self._reader.heads(), time.monotonic()
            if sum(ends.values()) - sum(head.next_offset for head in heads) > self._behind:
                self.last_behind = now
            for head in heads:
                before, since = moved.get(head.partition, (-1, now))
                if head.next_offset != before or head.next_offset >= ends[head.partition]:
                    moved[head.partition] = head.next_offset, now
                else:
                    self.longest_s = max(self.longest_s, now - since)
            await asyncio.sleep(0.02)


async def _flush(stack: LocalStack, found: Settings, backlog: int) -> float:
    """Fold a backlog, flush Redis, and give the seconds until it is folded again."""
    expected = await fill(found, workload(backlog, 100_000))
    child = await asyncio.to_thread(stack.start_service, worker("tally", found))
    try:
        async with open_ledgers(found) as reader, connect(found) as client:
            await until(lambda: _folded(reader, expected), "all folded")
            await client.flushall()
            began = time.monotonic()
            done = await until(lambda: _folded(reader, expected), "all folded again", every_s=0.02)
            await _check(reader, expected)
            return done - began
    finally:
        await asyncio.to_thread(child.stop)


async def _folded(reader: LedgerReader, expected: Expectation) -> bool:
    return sum(head.next_offset for head in await reader.heads()) >= expected.records


async def _check(reader: LedgerReader, expected: Expectation) -> None:
    result = merge(PollId("bench", "poll"), await reader.read(PollId("bench", "poll")))
    says = Expectation("bench", "poll")
    if result is not None:
        says.cells.update({(cell.window_start, cell.option_id): votes for cell, votes in result.windows.items()})
    if says.seconds != expected.seconds:
        raise SystemExit("WRONG: the ledgers differ from the oracle; these seconds count for nothing")


if __name__ == "__main__":
    typer.run(main)
