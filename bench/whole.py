"""The whole system at a steady rate: `python -m bench.whole --rate 50000 --seconds 60`. Is the lag bounded, what costs what?

Broker, Redis, ClickHouse, both workers and the publishers share the machine. The publishers are processes of their own, each
with its own voters, as edges have.
"""

import asyncio
import multiprocessing
import statistics
import time
from typing import Any

import typer

from bench.measuring import console, report, settings_of, system, usage, worker, workload
from pipeline.archive.migrate import migrate
from pipeline.archive.recount import reached_records, recount
from pipeline.archive.store import ArchiveStore
from pipeline.domain.poll import PollId
from pipeline.domain.result import merge
from pipeline.ledger.reader import open_ledgers
from pipeline.local.stack import ALL_PARTS, LocalStack
from pipeline.log.offsets import LogOffsets
from pipeline.log.publisher import Publisher
from pipeline.log.topics import open_topics
from pipeline.settings import Settings
from pipeline.show.expectation import MARKER, Expectation
from pipeline.show.player import Player
from pipeline.show.script import Script

POLL = PollId("bench", "poll")


def main(rate: int = 50_000, seconds: float = 60.0, publishers: int = 1, partitions: int = 12) -> None:
    """Publish at a rate, sample how far tally and archive are behind, and check the answer of both."""
    with system(*ALL_PARTS) as stack:
        found = settings_of(stack, "bench-whole", partitions=partitions)
        migrate(found)
        row = asyncio.run(_run(stack, found, rate, seconds, publishers))
    report("whole", [row], {"wanted_votes_per_s": rate, "seconds": seconds})


async def _run(stack: LocalStack, found: Settings, rate: int, seconds: float, publishers: int) -> dict[str, Any]:
    script = workload(round(rate * seconds / publishers), round(rate / publishers))
    opened_at = time.time_ns() // 1_000_000
    async with open_topics(found) as topics:
        await topics.create()
    async with Publisher(found) as publisher:
        await publisher.publish_marker(script.opened(opened_at))
    ours = [worker(name, found, when_ready=True) for name in ("tally", "archive")]
    workers = [await asyncio.to_thread(stack.start_service, service) for service in ours]
    pids = {name: stack.children[name].identity.pid for name in ("kafka", "redis", "clickhouse")}
    pids |= {name: child.identity.pid for name, child in zip(("tally", "archive"), workers, strict=True)}
    before = {name: usage(pid).cpu_s for name, pid in pids.items()}
    started = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(publishers) as pool:
        playing = pool.starmap_async(_publish, [(found, script, seed, opened_at) for seed in range(publishers)])
        lags = await _watch(found, playing)
        played_s = time.monotonic() - started
        expected = Expectation(*POLL)
        for part in playing.get():
            expected.merge(Expectation.from_json(part))
    expected.expect(MARKER, found.partitions)
    drained_s = await _drained(found, expected.records)
    used = {name: usage(pid) for name, pid in pids.items()}
    await _check(found, expected)
    for child in workers:
        await asyncio.to_thread(child.stop)
    return {
        "votes_per_s": expected.records / played_s,
        "tally_lag_p50": statistics.median(lags["tally"]),
        "tally_lag_max": max(lags["tally"]),
        "archive_lag_p50": statistics.median(lags["archive"]),
        "archive_lag_max": max(lags["archive"]),
        "drained_after_s": drained_s,
        **{f"{name}_cores": (used[name].cpu_s - before[name]) / played_s for name in pids},
        **{f"{name}_peak_mb": used[name].peak_mb for name in ("tally", "archive")},
    }


def _publish(found: Settings, script: Script, seed: int, opened_at: int) -> bytes:
    async def publish() -> bytes:
        async with Publisher(found) as publisher:
            expected = await Player(script, 100 + seed, publisher).play(opened_at=opened_at, closes=False)
            return expected.to_json()

    return asyncio.run(publish())


async def _watch(found: Settings, playing: Any) -> dict[str, list[int]]:
    """Sample the lags twice a second while the show is on."""
    lags: dict[str, list[int]] = {"tally": [0], "archive": [0]}
    store = ArchiveStore(found)
    async with LogOffsets(found) as offsets, open_ledgers(found) as reader:
        while not playing.ready():
            end = sum((await offsets.end()).values())
            folded = sum(head.next_offset for head in await reader.heads())
            lags["tally"].append(max(0, end - folded))
            lags["archive"].append(max(0, end - await reached_records(store, found)))
            await asyncio.sleep(0.5)
    await store.close()
    return lags


async def _drained(found: Settings, records: int) -> float:
    began, store = time.monotonic(), ArchiveStore(found)
    async with open_ledgers(found) as reader:
        while time.monotonic() < began + 300:
            folded = sum(head.next_offset for head in await reader.heads())
            if folded >= records and await reached_records(store, found) >= records:
                await store.close()
                return time.monotonic() - began
            await asyncio.sleep(0.1)
    raise SystemExit("the system did not drain within 300 s")


async def _check(found: Settings, expected: Expectation) -> None:
    async with open_ledgers(found) as reader:
        read = merge(POLL, await reader.read(POLL))
    counted = await recount(found, POLL)
    ledgers = {option: votes for option, votes in read.totals.items() if votes} if read else {}
    if ledgers != expected.totals or counted.totals != expected.totals:
        raise SystemExit(f"WRONG: expected {expected.totals}, Redis {ledgers}, ClickHouse {counted.totals}")
    console.print("Redis and ClickHouse agree with the oracle", highlight=False)


if __name__ == "__main__":
    typer.run(main)
