"""How fast one tally worker takes a backlog from Kafka into Redis: `python -m bench.tally --records 1000000 --rounds 3`.

And how soon the next one is ready, which reads from Redis what it has to remember.
"""

import asyncio
import statistics
import time
from typing import Any

import typer

from bench.measuring import console, fill, report, settings_of, spread, system, until, usage, worker, workload
from pipeline.domain.poll import PollId
from pipeline.domain.result import merge
from pipeline.ledger.connection import connect
from pipeline.ledger.reader import LedgerReader
from pipeline.local.stack import LocalStack, Part
from pipeline.settings import Settings
from pipeline.show.expectation import Expectation


def main(records: int = 1_000_000, rounds: int = 3, partitions: int = 12) -> None:
    """Measure; each round has a topic and a worker of its own, and its answer is checked against the oracle."""
    with system(Part.KAFKA, Part.REDIS) as stack:
        rows = []
        for number in range(1, rounds + 1):
            found = settings_of(stack, f"bench-tally-{number}", partitions=partitions)
            expected = asyncio.run(fill(found, workload(records, 200_000)))
            rows.append(asyncio.run(_round(stack, found, expected)))
            console.print(rows[-1], highlight=False)
    rates = [float(row["votes_per_s"]) for row in rows]
    report("tally", rows, {"votes_per_s": spread(rates), "median_votes_per_s": round(statistics.median(rates))})


async def _round(stack: LocalStack, found: Settings, expected: Expectation) -> dict[str, Any]:
    client = connect(found)
    await client.flushall()
    await client.config_set("slowlog-max-len", 100_000)
    await client.config_set("slowlog-log-slower-than", 0)  # all: the script's own times, as Redis took them
    await client.slowlog_reset()
    reader = LedgerReader(client, found.topic, range(found.partitions))
    redis_pid = stack.children["redis"].identity.pid
    redis_before = usage(redis_pid).cpu_s

    async def folded() -> int:
        return sum(head.next_offset for head in await reader.heads())

    async def begun() -> bool:
        return await folded() > 0

    async def done() -> bool:
        return await folded() >= expected.records

    await asyncio.sleep(2)  # the broker still writes what it was given
    started = time.monotonic()
    child = await asyncio.to_thread(stack.start_service, worker("tally", found))
    try:
        first = await until(begun, "first record applied")
        head_start = await folded()
        last = await until(done, "all applied")
        used = usage(child.identity.pid)
        script_ms = await _script_ms(client)
        result = merge(PollId("bench", "poll"), await reader.read(PollId("bench", "poll")))
    finally:
        await asyncio.to_thread(child.stop)
        await client.aclose()
    says = Expectation("bench", "poll")
    says.cells.update({(cell.window_start, cell.option_id): votes for cell, votes in result.windows.items()})  # type: ignore[union-attr]
    if says.seconds != expected.seconds:
        raise SystemExit("WRONG: the ledgers differ from the oracle; this rate counts for nothing")
    millions = expected.records / 1e6
    return {
        "votes_per_s": (expected.records - head_start) / (last - first),
        "from_start_s": last - started,
        "worker_cpu_s_per_million": used.cpu_s / millions,
        "redis_cpu_s_per_million": (usage(redis_pid).cpu_s - redis_before) / millions,
        "worker_peak_mb": used.peak_mb,
        **await asyncio.to_thread(_next_worker, stack, found),
        "script_ms_p50": script_ms[len(script_ms) // 2],
        "script_ms_p99": script_ms[len(script_ms) * 99 // 100],
        "scripts": len(script_ms),
        "scripts_over_5_ms": sum(took > 5 for took in script_ms),
    }


def _next_worker(stack: LocalStack, found: Settings) -> dict[str, float]:
    """Start a worker that takes up what the one before has left."""
    started = time.monotonic()
    child = stack.start_service(worker("tally", found, when_ready=True))
    try:
        ready_s, peak_mb = time.monotonic() - started, usage(child.identity.pid).peak_mb
    finally:
        child.stop()
    return {"next_worker_ready_s": ready_s, "next_worker_peak_mb": peak_mb}


async def _script_ms(client: Any) -> list[float]:
    """How long each call of the script kept Redis, sorted."""
    entries = await client.slowlog_get(100_000)
    return sorted(entry["duration"] / 1000 for entry in entries if entry["command"].upper().startswith(b"EVALSHA"))


if __name__ == "__main__":
    typer.run(main)
