"""`airtally init`, `tally`, `archive`, `live`, `edge`: what production runs."""

# Each command imports its own stage: Faust and PyArrow take a second to load, and `--help` needs neither.
# ruff: noqa: PLC0415

import asyncio

from pipeline import logs
from pipeline.cli.context import command, console, settings
from pipeline.log.topics import open_topics
from pipeline.settings import Settings


async def prepare(found: Settings) -> list[str]:
    """Make the topic and ClickHouse's tables, or check those that are there; say what was done.

    Raises:
        ConfigurationError: what is there is not as it must be.
    """
    from pipeline.archive.migrate import migrate

    async with open_topics(found) as topics:
        made = await topics.create()
        await topics.check()
    lines = [f"topic {found.topic}: {'made' if made else 'is there'}, {found.partitions} partitions"]
    applied = await asyncio.to_thread(migrate, found)
    return [*lines, f"ClickHouse database {found.clickhouse_database}: {', '.join(applied) or 'up to date'}"]


@command
async def init() -> None:
    """Make the topic and ClickHouse's tables, or check those that are there. Safe to repeat."""
    for line in await prepare(settings()):
        console.print(line, highlight=False)


@command
async def tally() -> None:
    """Run one tally worker: folds the log into the ledgers in Redis.

    Run as many as you like, up to one per partition; health and metrics are on port 9101 (AIRTALLY_HEALTH_PORT). Stops
    cleanly on SIGTERM and Ctrl-C.
    """
    from pipeline.tally import service as tally_service

    found = settings()
    logs.configure(found, "tally")
    await tally_service.run(found)


@command
async def archive() -> None:
    """Run one archive worker: stores every record of the log in ClickHouse.

    Health and metrics are on port 9102 (AIRTALLY_HEALTH_PORT). Stops cleanly on SIGTERM and Ctrl-C.
    """
    from pipeline.archive import service as archive_service

    found = settings()
    logs.configure(found, "archive")
    await archive_service.run(found)


@command
async def live() -> None:
    """Run the live view: merges the ledgers and serves them to graphics, pages and programs.

    Pages and API are on port 8090 of this machine (AIRTALLY_LIVE_HOST, AIRTALLY_LIVE_PORT), health and metrics on port 9103
    (AIRTALLY_HEALTH_PORT). Several do no harm. Stops cleanly on SIGTERM and Ctrl-C.
    """
    from pipeline.live import service as live_service

    found = settings()
    logs.configure(found, "live")
    await live_service.run(found)


@command
async def edge() -> None:
    """Take viewers' votes over HTTP and WebSocket, and publish them.

    Port 8091 of this machine (AIRTALLY_EDGE_HOST, AIRTALLY_EDGE_PORT), health and metrics on port 9104 (AIRTALLY_HEALTH_PORT).
    Needs AIRTALLY_EDGE_SECRET. One process uses one core: run several, on ports of their own or on one
    (AIRTALLY_EDGE_SHARE_PORT). On SIGTERM it takes no new connections, answers what is in flight, and ends.
    """
    from pipeline.edge import service as edge_service

    found = settings()
    logs.configure(found, "edge")
    await edge_service.run(found)
