"""The long form: `python -m tests.fuzz --records 3000000 --seed 1`, on a system of its own."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from pipeline.archive.migrate import migrate
from pipeline.local.stack import LocalStack
from pipeline.log.topics import open_topics
from pipeline.settings import Settings
from tests.workers import running

from .campaign import caught_up, differences, in_redis, in_sql, misread, publish


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--records", type=int, default=3_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="airtally-fuzz-") as folder, LocalStack(Path(folder)) as stack:
        found = Settings(
            kafka=stack.addresses.kafka,
            redis_url=stack.addresses.redis_url,
            clickhouse_url=stack.addresses.clickhouse_url,
            clickhouse_database="fuzz",
            topic="votes-fuzz",
            home=stack.folder,
        )
        lines, outcomes = asyncio.run(_campaign(stack, found, given.records, given.seed))
    print(*lines[:50], *outcomes, sep="\n")  # noqa: T201
    print(f"{len(lines)} differences; {time.monotonic() - began:.0f} s; seed {given.seed}")  # noqa: T201
    return bool(lines)


async def _campaign(stack: LocalStack, found: Settings, records: int, seed: int) -> tuple[list[str], list[str]]:
    async with open_topics(found) as topics:
        await topics.create()
    migrate(found)
    with running(stack, found, "tally"), running(stack, found, "archive"):
        await publish(found, records, seed)
        whole = await caught_up(found)
    redis, sql = await in_redis(found), in_sql(found)
    lines = [*differences(found, redis, sql), *misread(found)]
    outcomes: dict[str, int] = {}
    for of_partition in redis.values():
        for (show, _, what), number in of_partition.items():
            if not show:
                outcomes[what] = outcomes.get(what, 0) + number
    return lines, [f"{whole} records", *(f"  {outcome}: {number}" for outcome, number in sorted(outcomes.items()))]


if __name__ == "__main__":
    sys.exit(main())
