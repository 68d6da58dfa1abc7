"""`airtally up`, `down`, `status`: the system on this machine."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from pipeline import settings as settings_module
from pipeline.cli.context import Json, command, console, errors, print_json
from pipeline.cli.local_services import HEALTH_PORTS, display, edge_service, pages, voting, with_keys, worker
from pipeline.cli.services import prepare
from pipeline.domain.poll import PollId
from pipeline.local.edge_keys import edge_keys
from pipeline.local.parts import STANDARD_PORTS, Addresses, Part
from pipeline.local.ports import free_port
from pipeline.local.stack import LocalStack, Options, Service
from pipeline.local.state import read_state, stop_state
from pipeline.local.state import status as read_status
from pipeline.settings import Settings, masked


def given(found: Settings) -> Addresses:
    """Give the addresses that the environment names: those parts are not started here."""
    return Addresses(found.kafka or "", found.redis_url or "", found.clickhouse_url or "")


def _names_others(found: Settings, ours: Addresses) -> bool:
    """Tell whether the environment names servers that are not those of a local system."""
    named = given(found)
    return any(named.of(part) not in {"", ours.of(part)} for part in Part)


def with_addresses(found: Settings, addresses: Addresses) -> Settings:
    """Complete the settings by what was started."""
    return found.model_copy(
        update={
            "kafka": addresses.kafka,
            "redis_url": addresses.redis_url,
            "clickhouse_url": addresses.clickhouse_url,
        }
    )


def prepare_parts(found: Settings, addresses: Addresses) -> None:
    """Make topic and tables, between the start of the parts and of the services."""
    asyncio.run(prepare(with_addresses(found, addresses)))


@command
def up(
    *,
    any_port: Annotated[bool, typer.Option("--any-port", help="Take free ports instead of the standard ones.")] = False,
    workers: Annotated[bool, typer.Option(help="Run the workers, the live view and the edge too.")] = True,
) -> None:
    """Start the system on this machine, in the background: Kafka, Redis, ClickHouse, the workers, live view and edge.

    A part whose address is in the environment is used instead of a local one. Data, logs and addresses are in .airtally
    (AIRTALLY_HOME), and so are the edge's secret and token key, made there by chance, if the environment gives none.
    `airtally down` stops it.
    """
    found = settings_module.load()
    stack = LocalStack(
        found.home,
        given=given(found),
        ports={} if any_port else STANDARD_PORTS,
        services=_services(found, any_port=any_port) if workers else [],
        prepare=lambda addresses: prepare_parts(found, addresses),
        options=Options(redis_appendonly=True),
    )
    started = stack.start(detached=True, on_progress=lambda line: errors.print(line, highlight=False))
    addresses = stack.addresses
    console.print("[bold]running[/]" if started else "[bold]was running already[/]")
    for line in how_to(found, addresses):
        console.print("  " + line, highlight=False, markup=False, soft_wrap=True)


def _services(found: Settings, *, any_port: bool) -> list[Service]:
    ports = {name: free_port() if any_port else port for name, port in HEALTH_PORTS.items()}
    live_port, edge_port = (
        free_port() if any_port or not port else port for port in (found.live_port, found.edge_port)
    )
    return [
        worker("tally", ports["tally"], found),
        worker("archive", ports["archive"], found),
        display(ports["live"], live_port, found),
        edge_service(ports["edge"], edge_port, with_keys(found, edge_keys(found.home))),
    ]


def served(found: Settings, service: str) -> str | None:
    """Give the address of a local service, `live` or `edge`; None: there is none in this folder."""
    state = read_state(found.home)
    entries = state.entries if state is not None else ()
    return next((entry.serves for entry in entries if entry.name == service and entry.serves), None)


def serving(found: Settings, poll: PollId | None = None, option: str = "<option>") -> list[str]:
    """Give a line for each thing to do at the addresses of the local services, with a poll or with any."""
    live, edge = served(found, "live"), served(found, "edge")
    return [*(pages(live, poll) if live else []), *([voting(edge, poll, option)] if edge else [])]


def how_to(found: Settings, addresses: Addresses) -> list[str]:
    """Give a line for each address, with what to do there."""
    edge = served(found, "edge")
    tokens = f"edge        {edge}  tokens for edges in front of it: airtally edge-token mint cdn-1"
    query = f"'SELECT * FROM {found.clickhouse_database}.poll_results FORMAT PrettyCompact'"  # noqa: S608  # for people
    redis, clickhouse = masked(addresses.redis_url), masked(addresses.clickhouse_url)
    return [
        f"Kafka       {addresses.kafka}  topic {found.topic}, {found.partitions} partitions",
        f"Redis       {redis}  e.g. redis-cli -u '{redis}' hgetall '{{{found.topic}/0}}:head'",
        f"ClickHouse  {clickhouse}  e.g. curl '{clickhouse}' --data-binary {query}",
        *([tokens] if edge else []),
        *serving(found),
        "next        airtally poll open my-show my-poll --options ada,bo,cy",
    ]


@command
def down() -> None:
    """Stop what `airtally up` has started. The data stays in its folder."""
    found = settings_module.load()
    stopped = stop_state(found.home, on_progress=lambda line: errors.print(line, highlight=False))
    console.print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running", highlight=False)


@command
def status(*, json: Json = False) -> None:
    """Say what of the local system runs, answers, and where. Of servers elsewhere `airtally doctor` tells."""
    found = settings_module.load()
    rows, known = read_status(found.home), read_state(found.home)
    elsewhere = _names_others(found, known.addresses if known is not None else Addresses())
    if json:
        print_json([asdict(row) for row in rows])
    elif known is None:
        console.print(
            "nothing is running here" if elsewhere else "nothing is running here: start it by `airtally up`",
            highlight=False,
        )
    else:
        table = Table("part", box=None)
        for name in ("state", "address", "pid", "log"):
            table.add_column(name, overflow="fold")  # what is cut off could be what is needed
        for row in rows:
            state = "answers" if row.answering else f"{'alive' if row.alive else 'down'}: {row.detail}"
            table.add_row(row.name, state, row.address, str(row.pid or ""), row.log_file)
        console.print(table)
        for line in serving(found):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    if elsewhere and not json:
        console.print(
            "of the servers that the environment names `airtally doctor` tells, and /readyz of each service",
            highlight=False,
        )
    if any(not row.answering for row in rows):
        raise typer.Exit(1)
