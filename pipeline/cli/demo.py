"""`airtally demo`: a whole show on this machine, and whether three counts of it and the air agree."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from pipeline import settings as settings_module
from pipeline.archive.recount import reached_records
from pipeline.archive.store import ArchiveStore
from pipeline.cli.agreement import Count, OnAir, count_of_archive, count_of_ledgers, on_air, report, through_edge
from pipeline.cli.context import command, console, errors
from pipeline.cli.local import prepare_parts, with_addresses
from pipeline.cli.local_services import display, edge_service, pages, with_keys, worker
from pipeline.cli.staging import play, play_until_ended
from pipeline.domain.poll import PollId
from pipeline.edge.tokens import Tokens
from pipeline.errors import UnavailableError
from pipeline.ledger.reader import open_ledgers
from pipeline.load.fronts import Fronts
from pipeline.local.edge_keys import edge_keys
from pipeline.local.ports import free_port
from pipeline.local.stack import LocalStack
from pipeline.local.state import clear
from pipeline.log.offsets import LogOffsets
from pipeline.settings import Settings
from pipeline.show.evening import last_chapter
from pipeline.show.expectation import Expectation
from pipeline.show.script import Script, default_script

CATCH_UP_S = 120.0  # how long tally and archive may take, after the show, to have all of it
SHOWN_S = 20.0  # and how long it may take after that until the air shows it
FRONTS = ("cdn-1", "cdn-2", "cdn-3")  # edges in front of ours
TOKEN_DAYS = 30.0  # more than any show that stays

# What the environment says of a show's servers, keys and network. The demo has its own, and is on this machine only.
OF_OTHER_SERVERS = frozenset(
    (
        *("kafka", "kafka_security", "kafka_sasl_mechanism", "kafka_user", "kafka_password", "kafka_ca_file"),
        *("redis_url", "clickhouse_url", "clickhouse_database"),
        *("topic", "replication", "min_insync", "instance_id", "accept_truncated_log"),
        *("edge_secret", "edge_token_keys", "edge_host", "live_host", "health_host"),
    )
)


@command
def demo(
    records: Annotated[int, typer.Option(min=1_000, help="Records in the show.")] = 520_000,
    seconds: Annotated[float, typer.Option(min=5, help="Length of the show.")] = 30.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same votes.")] = 21,
    *,
    stay: Annotated[bool, typer.Option("--stay", help="Another show, which goes on until Ctrl-C: to look at.")] = False,
) -> None:
    """Run a whole simulated show on this machine, and check three counts of it, and the air, against each other.

    Starts real Kafka, Redis and ClickHouse, the workers, the live view and an edge in a folder of their own on free ports,
    whatever servers the environment names;
    plays crowd noise, a spike at the call to vote, repeats, late votes, voters past their limit and every kind of bad
    record. A quarter of the voters votes through the edge, which acknowledges each vote; what no edge would let pass goes
    into Kafka directly. It closes and finalizes the poll; then it compares what the oracle expects, what Redis says, what
    ClickHouse recounts from raw bytes, and what the air shows. Exit status 0 only if all agree. Nothing is left running.

    With --stay the votes come at a modest rate, with a call to vote now and then, for as long as you like to look at the
    pages. Ctrl-C closes the poll, and then everything goes on as above.
    """
    _forget_other_servers()
    found = settings_module.load()
    folder = found.home / "demo"
    clear(folder)
    script = last_chapter() if stay else default_script(records=records, seconds=seconds)
    found = with_keys(found, edge_keys(folder))
    live = display(free_port(), found.live_port if stay and found.live_port else free_port(), found)
    # Nobody votes by hand there, of which the oracle could not know; and it is as patient with Kafka as our publisher is.
    more = {"AIRTALLY_EDGE_PUBLIC": "false", "AIRTALLY_EDGE_ANSWER_S": "30"}
    edge = edge_service(free_port(), free_port(), found, **more)
    stack = LocalStack(
        folder,
        services=[worker("tally", free_port(), found), worker("archive", free_port(), found), live, edge],
        prepare=lambda addresses: prepare_parts(found, addresses),
    )
    console.print("[bold]Starting[/] Kafka, Redis, ClickHouse and our services (the first time they are fetched)")
    try:
        stack.start(on_progress=lambda line: errors.print("  " + line, highlight=False))
        for line in pages(live.address, PollId(script.show_id, script.poll_id)):
            console.print("  " + line, highlight=False, soft_wrap=True)
        agreed = asyncio.run(_show(with_addresses(found, stack.addresses), edge.address, script, seed, stay=stay))
    finally:
        stack.stop()
        console.print(f"\nStopped; nothing is left running. Logs are in {_short(folder)}", highlight=False)
    if not agreed:
        raise typer.Exit(1)
    console.print(
        "Next: `airtally up` keeps such a system running; `airtally --help` says what to do with it.", highlight=False
    )


def _forget_other_servers() -> None:
    """Play nothing into a log that counts, nor join its workers: neither this process nor those that it starts know of it."""
    for name in list(os.environ):
        if name.upper().startswith("AIRTALLY_") and name[len("AIRTALLY_") :].lower() in OF_OTHER_SERVERS:
            del os.environ[name]


async def _show(found: Settings, edge_url: str, script: Script, seed: int, *, stay: bool) -> bool:
    poll = PollId(script.show_id, script.poll_id)
    tokens = Tokens.from_settings(found)
    began = time.monotonic()
    async with Fronts(edge_url, poll, {name: tokens.mint(name, TOKEN_DAYS)[0] for name in FRONTS}) as fronts:
        expected = await (play_until_ended(found, seed, fronts) if stay else play(found, script, seed, fronts))
    console.print(
        f"The show is over after {time.monotonic() - began:.1f} s. Waiting until all of it is counted and stored."
    )
    waited = time.monotonic()
    async with LogOffsets(found) as offsets:
        records = sum((await offsets.end()).values())
    await _until(lambda: _folded(found), records, "tally")
    console.print(f"Redis had all after {time.monotonic() - waited:.1f} s", end="", highlight=False)
    air = await _shown(found, poll, expected)
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
    return report(script, counts, air, await through_edge(found, poll, fronts))


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


async def _shown(found: Settings, poll: PollId, expected: Expectation) -> OnAir:
    """Wait until the air shows what is expected, or long enough: then what it shows is what there is to compare.

    Raises:
        UnavailableError: nothing is shown after a bounded time.
    """
    deadline = time.monotonic() + SHOWN_S
    while (air := await on_air(found, poll)) is None or air.differences(expected):
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.1)
    if air is None:
        raise UnavailableError(
            f"after {SHOWN_S:.0f} s the display has nothing of {'/'.join(poll)}: see the log of live"
        )
    return air


def _short(folder: Path) -> str:
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)
