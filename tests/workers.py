"""Real worker processes for the tests, and bounded waits for what they do."""

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

import aiohttp
import orjson

from pipeline.domain.poll import PollId
from pipeline.domain.result import merge
from pipeline.ledger.reader import open_ledgers
from pipeline.local.ports import free_port
from pipeline.local.process import Child
from pipeline.local.stack import LocalStack, Service
from pipeline.log.offsets import LogOffsets
from pipeline.settings import Settings
from pipeline.show.expectation import Expectation

_numbers = itertools.count(1)

WAIT_S = 60.0


def environment(found: Settings) -> dict[str, str]:
    """What a worker with these settings finds in its environment."""
    return {
        "AIRTALLY_KAFKA": found.kafka or "",
        "AIRTALLY_REDIS_URL": found.redis_url or "",
        "AIRTALLY_CLICKHOUSE_URL": found.clickhouse_url or "",
        "AIRTALLY_CLICKHOUSE_DATABASE": found.clickhouse_database,
        "AIRTALLY_TOPIC": found.topic,
        "AIRTALLY_PARTITIONS": str(found.partitions),
        "AIRTALLY_HOME": str(found.home),
        "AIRTALLY_LOG_FORMAT": "json",
    }


@contextlib.contextmanager
def running(system: LocalStack, found: Settings, service: str, **more: str) -> Iterator[Child]:
    """Run a worker until the block ends."""
    child = start(system, found, service, **more)
    try:
        yield child
    finally:
        child.stop()


def start(system: LocalStack, found: Settings, service: str, **more: str) -> Child:
    """Start a worker and wait until it is ready."""
    port = free_port()
    return system.start_service(
        Service(
            name=f"{service}-{next(_numbers)}",
            argv=[sys.executable, "-m", "pipeline.cli", service],
            ready_url=f"http://127.0.0.1:{port}/readyz",
            env={**environment(found), "AIRTALLY_HEALTH_PORT": str(port), **more},
        )
    )


async def page(worker: Child, path: str) -> bytes:
    """Read a page of a worker's health port."""
    url = f"http://127.0.0.1:{worker.launch.env['AIRTALLY_HEALTH_PORT']}"
    async with aiohttp.ClientSession(url) as session, session.get(path) as answer:
        return await answer.read()


async def problems(worker: Child) -> dict[str, str]:
    """Ask a worker what keeps it from being ready."""
    found: dict[str, str] = orjson.loads(await page(worker, "/readyz"))["problems"]
    return found


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, timeout_s: float = WAIT_S) -> None:
    """Wait a bounded time until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        await asyncio.sleep(0.1)


async def folded(found: Settings) -> None:
    """Wait until the ledgers have all of the log."""
    async with open_ledgers(found) as ledgers, LogOffsets(found) as offsets:

        async def all_folded() -> bool:
            heads = await ledgers.heads()
            return {head.partition: head.next_offset for head in heads} == await offsets.end()

        await eventually(all_folded, "all folded")


async def found_in_redis(found: Settings, poll_id: PollId) -> Expectation:
    """Read what the ledgers say, in the oracle's form."""
    async with open_ledgers(found) as ledgers:
        heads, result = await ledgers.heads(), merge(poll_id, await ledgers.read(poll_id))
    assert result is not None
    assert not result.conflicts
    assert all(head.base + sum(head.outcomes.values()) == head.next_offset for head in heads)
    says = Expectation(*poll_id)
    for head in heads:
        says.outcomes.update(head.outcomes)
    says.poll_outcomes.update(result.outcomes)
    says.cells.update({(cell.window_start, cell.option_id): votes for cell, votes in result.windows.items()})
    assert dict(result.totals) == {option.id: says.expected_total(option.id) for option in result.rules.options}
    return says
