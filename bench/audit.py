"""How long an audit and a certificate take: `python -m bench.audit --records 1000000`.

A poll of so many records is counted and stored first. Then Kafka, Redis and ClickHouse are asked about all of it.
"""

import asyncio
import time
from typing import Any

import typer

from bench.measuring import fill, report, settings_of, system, worker, workload
from pipeline.archive.digests import leaves
from pipeline.archive.migrate import migrate
from pipeline.audit.merkle import root_of
from pipeline.cli.auditing import run_audit
from pipeline.domain.poll import PollId
from pipeline.local.stack import ALL_PARTS
from pipeline.settings import Settings
from pipeline.show.expectation import Expectation

POLL = PollId("bench", "poll")
CATCH_UP_S = 300.0


def main(records: int = 1_000_000, rounds: int = 3, partitions: int = 12) -> None:
    """Measure; each audit must agree, and with the oracle too."""
    with system(*ALL_PARTS) as stack:
        found = settings_of(stack, "bench-audit", partitions=partitions)
        migrate(found)
        expected = asyncio.run(fill(found, workload(records, 200_000)))
        workers = [stack.start_service(worker(name, found, when_ready=True)) for name in ("tally", "archive")]
        asyncio.run(run_audit(found, POLL, CATCH_UP_S))  # when both have come to the end
        for child in workers:
            child.stop()
        rows = [asyncio.run(_round(found, expected)) for _ in range(rounds)]
    report("audit", rows, {"records": expected.records})


async def _round(found: Settings, expected: Expectation) -> dict[str, Any]:
    began = time.monotonic()
    done = await run_audit(found, POLL, CATCH_UP_S)
    audit_s = time.monotonic() - began
    audited = sum(ledger.next_offset for ledger in done.ledgers)
    if not done.agrees or audited != expected.records or sum(done.counted.values()) != expected.counted:
        raise SystemExit(
            f"WRONG: {audited} of {expected.records} records, {[str(each) for each in done.differences[:5]]}"
        )
    began = time.monotonic()
    for ledger in done.ledgers:
        root_of(await leaves(found, ledger.partition, (ledger.base, ledger.next_offset)))
    return {"audit_s": audit_s, "roots_s": time.monotonic() - began}


if __name__ == "__main__":
    typer.run(main)
