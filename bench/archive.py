"""How fast one archive worker takes a backlog from Kafka into ClickHouse: `python -m bench.archive --records 1000000`."""

import asyncio
import statistics
import time
from typing import Any

import typer

from bench.archive_floors import plain_loop, ready_blocks
from bench.measuring import console, fill, report, settings_of, spread, system, until, usage, worker, workload
from pipeline.archive.buffer import FlushPolicy
from pipeline.archive.connection import connect
from pipeline.archive.migrate import migrate
from pipeline.archive.recount import reached_records, recount, stored_records
from pipeline.archive.store import ArchiveStore
from pipeline.domain.poll import PollId
from pipeline.local.stack import LocalStack, Part
from pipeline.settings import Settings
from pipeline.show.expectation import Expectation

# The last flush of each of a worker's two archivers waits a second for more that could be stored with it: that is no work.
LAST_RECORDS = 2 * FlushPolicy().max_rows
PLAIN_RECORDS = 500_000  # the plain loop has its rate by then, and takes a minute for millions


def main(records: int = 3_000_000, rounds: int = 3, partitions: int = 12) -> None:
    """Measure; each round has a topic, a database and a worker of its own, and its recount is checked against the oracle."""
    with system(Part.KAFKA, Part.CLICKHOUSE) as stack:
        rows = []
        for number in range(1, rounds + 1):
            found = settings_of(stack, f"bench-archive-{number}", partitions=partitions)
            expected = asyncio.run(fill(found, workload(records, 200_000)))
            migrate(found)
            # The floor before and after: machines change their speed within a minute.
            floors = [asyncio.run(ready_blocks(found, expected.records, "before"))]
            row = asyncio.run(_round(stack, found, expected))
            floors += [asyncio.run(ready_blocks(found, expected.records, "after"))]
            floor = statistics.mean(floors)
            plain = asyncio.run(plain_loop(found, min(PLAIN_RECORDS, expected.records)))
            row |= {
                "ready_blocks_rows_per_s": floor,
                "of_ready_blocks": row["rows_per_s"] / floor,
                "plain_loop_rows_per_s": plain,
            }
            rows.append(row)
            console.print(rows[-1], highlight=False)
    rates = [float(row["rows_per_s"]) for row in rows]
    shares = [float(row["of_ready_blocks"]) for row in rows]
    more = {"rows_per_s": spread(rates), "median_rows_per_s": round(statistics.median(rates))}
    report("archive", rows, {**more, "median_of_ready_blocks": round(statistics.median(shares), 2)})


async def _round(stack: LocalStack, found: Settings, expected: Expectation) -> dict[str, Any]:
    store = ArchiveStore(found)

    reached = 0

    async def has(records: int) -> bool:
        nonlocal reached
        reached = await reached_records(store, found)
        return reached >= records

    gateway = stack.children["clickhouse"].identity.pid
    before = usage(gateway).cpu_s
    child = await asyncio.to_thread(stack.start_service, worker("archive", found))
    try:
        first = await until(lambda: has(1), "first record stored", every_s=0.2)
        head_start = reached
        last = await until(lambda: has(expected.records - LAST_RECORDS), "all but the last flushes stored", every_s=0.2)
        timed = reached - head_start
        await until(lambda: has(expected.records), "all stored", every_s=0.3)
        used = usage(child.identity.pid)
    finally:
        await asyncio.to_thread(child.stop)
        await store.close()
    engine_cpu_s = usage(gateway).cpu_s - before
    asked = time.monotonic()
    counted = await recount(found, PollId("bench", "poll"))
    recount_s = time.monotonic() - asked
    if (
        await stored_records(found) != expected.records
        or counted.totals != expected.totals
        or sum(counted.outcomes.values()) != expected.records
    ):
        raise SystemExit("WRONG: the recount differs from the oracle; this rate counts for nothing")
    millions = expected.records / 1e6
    return {
        "rows_per_s": timed / (last - first),
        "worker_cpu_s_per_million": used.cpu_s / millions,
        "clickhouse_cpu_s_per_million": engine_cpu_s / millions,
        "worker_peak_mb": used.peak_mb,
        "recount_s": recount_s,
        "disk_bytes_per_row": await asyncio.to_thread(_disk_bytes, found) / expected.records,
    }


def _disk_bytes(found: Settings) -> int:
    client = connect(found)
    try:
        sql = (
            "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'votes_log' AND database = {d:String}"
        )
        return int(client.query(sql, parameters={"d": found.clickhouse_database}).first_row[0])
    finally:
        client.close()


if __name__ == "__main__":
    typer.run(main)
