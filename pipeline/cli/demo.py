"""`airtally demo`: a whole show on this machine, and whether three counts of it agree."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table

from pipeline import settings as settings_module
from pipeline.archive.recount import reached_records
from pipeline.archive.store import ArchiveStore
from pipeline.cli.agreement import Count, count_of_archive, count_of_ledgers, report
from pipeline.cli.context import command, console, errors
from pipeline.cli.local import given, prepare_parts, with_addresses, worker
from pipeline.cli.playing import watch
from pipeline.domain.poll import PollId
from pipeline.domain.result import merge
from pipeline.errors import UnavailableError
from pipeline.ledger.reader import open_ledgers
from pipeline.local.ports import free_port
from pipeline.local.stack import LocalStack
from pipeline.log.offsets import LogOffsets
from pipeline.log.publisher import Publisher
from pipeline.settings import Settings
from pipeline.show.expectation import Expectation
from pipeline.show.player import Player
from pipeline.show.script import Script, default_script

CATCH_UP_S = 120.0  # how long tally and archive may take, after the show, to have all of it


@command
def demo(
    records: Annotated[int, typer.Option(min=1_000, help="Records in the show.")] = 520_000,
    seconds: Annotated[float, typer.Option(min=5, help="Length of the show.")] = 30.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same votes.")] = 21,
) -> None:
    """Run a whole simulated show on this machine, and check three counts of it against each other.

    Starts real Kafka, Redis and ClickHouse and the workers in a folder of their own on free ports; plays crowd noise, a
    spike at the call to vote, repeats, late votes, voters past their limit and every kind of bad record; closes and
    finalizes the poll; then compares what the oracle expects, what Redis says, and what ClickHouse recounts from raw bytes.
    Exit status 0 only if all agree. Nothing is left running.
    """
    found = settings_module.load()
    folder = found.home / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    script = default_script(records=records, seconds=seconds)
    stack = LocalStack(
        folder,
        given=given(found),
        services=[worker(name, free_port()) for name in ("tally", "archive")],
        prepare=lambda addresses: prepare_parts(found, addresses),
    )
    console.print("[bold]Starting[/] Kafka, Redis, ClickHouse and the workers (the first time they are fetched)")
    try:
        stack.start(on_progress=lambda line: errors.print("  " + line, highlight=False))
        agreed = asyncio.run(_show(with_addresses(found, stack.addresses), script, seed))
    finally:
        stack.stop()
        console.print(f"\nStopped; nothing is left running. Logs are in {_short(folder)}", highlight=False)
    if not agreed:
        raise typer.Exit(1)
    console.print(
        "Next: `airtally up` keeps such a system running; `airtally --help` says what to do with it.", highlight=False
    )


async def _show(found: Settings, script: Script, seed: int) -> bool:
    poll = PollId(script.show_id, script.poll_id)
    began = time.monotonic()
    expected = await _play(found, script, seed, poll)
    console.print(
        f"The show is over after {time.monotonic() - began:.1f} s. Waiting until all of it is counted and stored."
    )
    waited = time.monotonic()
    async with LogOffsets(found) as offsets:
        records = sum((await offsets.end()).values())
    await _until(lambda: _folded(found), records, "tally")
    console.print(f"Redis had all after {time.monotonic() - waited:.1f} s", end="", highlight=False)
    store = ArchiveStore(found)
    try:
        await _until(lambda: reached_records(store, found), records, "archive")
    finally:
        await store.close()
    console.print(f", ClickHouse after {time.monotonic() - waited:.1f} s.\n", highlight=False)
    counts = [
        Count("expected", expected),
        await count_of_ledgers(found, poll),
        await count_of_archive(found, poll),
    ]
    return report(script, counts)


async def _play(found: Settings, script: Script, seed: int, poll: PollId) -> Expectation:
    """Play the show, with a line that says how it goes."""
    console.print(
        f"[bold]On the air[/]: {script.records:,} records in {script.duration_s:.0f} s, seed {seed}", highlight=False
    )
    async with Publisher(found) as publisher, open_ledgers(found) as reader, LogOffsets(found) as offsets:
        player = Player(script, seed, publisher)
        line = {"sent": 0, "per_s": 0, "counted": 0, "lag": 0}

        def sent(records: int, per_s: int) -> None:
            line.update(sent=records, per_s=per_s)

        async def look(live: Live) -> None:
            while True:
                read = merge(poll, await reader.read(poll, windows=False))
                heads = await reader.heads()
                line["counted"] = read.total if read else 0
                line["lag"] = sum((await offsets.end()).values()) - sum(head.next_offset for head in heads)
                live.update(_line(player, line))
                await asyncio.sleep(0.25)

        with Live(console=console, refresh_per_second=4, transient=False) as live:
            looking = asyncio.create_task(look(live))
            try:
                async with watch(player, sent):
                    return await player.play()
            finally:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
                live.update(_line(player, line))


def _line(player: Player, line: dict[str, int]) -> Table:
    table = Table(box=None, show_header=False)
    table.add_row(
        f"[bold]{player.progress.phase:8}[/]",
        f"sent {line['sent']:>9,}",
        f"({line['per_s']:>7,}/s)",
        f"counted {line['counted']:>9,}",
        f"not folded yet {max(0, line['lag']):>7,}",
    )
    return table


async def _folded(found: Settings) -> int:
    async with open_ledgers(found) as reader:
        return sum(head.next_offset for head in await reader.heads())


async def _until(count: Callable[[], Awaitable[int]], records: int, service: str) -> None:
    """Wait until a service has all records.

    Raises:
        UnavailableError: it has not after a bounded time.
    """
    deadline = time.monotonic() + CATCH_UP_S
    while (has := await count()) < records:
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"after {CATCH_UP_S:.0f} s the {service} has {has:,} of {records:,} records: see its log"
            )
        await asyncio.sleep(0.1)


def _short(folder: Path) -> str:
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)
