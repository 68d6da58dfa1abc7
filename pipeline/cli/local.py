"""`airtally up`, `down`, `status`: the system on this machine."""

import asyncio
import sys
from dataclasses import asdict, replace
from typing import Annotated

import typer
from rich.table import Table

from pipeline import settings as settings_module
from pipeline.cli.context import Json, command, console, errors, print_json
from pipeline.cli.services import prepare
from pipeline.domain.poll import PollId
from pipeline.local.parts import STANDARD_PORTS, Addresses
from pipeline.local.ports import free_port
from pipeline.local.stack import LocalStack, Options, Service
from pipeline.local.state import read_state, stop_state
from pipeline.local.state import status as read_status
from pipeline.settings import Settings

HEALTH_PORTS = {"tally": 9101, "archive": 9102, "live": 9103}


def given(found: Settings) -> Addresses:
    """Give the addresses that the environment names: those parts are not started here."""
    return Addresses(found.kafka or "", found.redis_url or "", found.clickhouse_url or "")


def with_addresses(found: Settings, addresses: Addresses) -> Settings:
    """Complete the settings by what was started."""
    return found.model_copy(
        update={
            "kafka": addresses.kafka,
            "redis_url": addresses.redis_url,
            "clickhouse_url": addresses.clickhouse_url,
        }
    )


def worker(name: str, port: int) -> Service:
    """Describe one of our services as the local system runs it."""
    return Service(
        name=name,
        argv=[sys.executable, "-m", "pipeline.cli", name],
        ready_url=f"http://127.0.0.1:{port}/readyz",
        env={"AIRTALLY_HEALTH_PORT": str(port), "AIRTALLY_HEALTH_HOST": "127.0.0.1"},
    )


def display(port: int, live_port: int) -> Service:
    """Describe the live view: a service that also serves pages."""
    service = worker("live", port)
    env = {**service.env, "AIRTALLY_LIVE_PORT": str(live_port), "AIRTALLY_LIVE_HOST": "127.0.0.1"}
    return replace(service, address=f"http://127.0.0.1:{live_port}", env=env)


def pages(url: str, poll: PollId | None = None) -> list[str]:
    """Give a line for each page: of a poll, or of all of them."""
    name = "<show>/<poll>" if poll is None else "/".join(poll)
    return [
        f"overlay     {url}/overlay/{name}  for OBS, vMix, CasparCG, SPX",
        f"host        {url}/host/{name}",
        f"all polls   {url}/",
    ]


def prepare_parts(found: Settings, addresses: Addresses) -> None:
    """Make topic and tables, between the start of the parts and of the services."""
    asyncio.run(prepare(with_addresses(found, addresses)))


@command
def up(
    *,
    any_port: Annotated[bool, typer.Option("--any-port", help="Take free ports instead of the standard ones.")] = False,
    workers: Annotated[bool, typer.Option(help="Run the tally and archive workers and the live view too.")] = True,
) -> None:
    """Start the system on this machine, in the background: Kafka, Redis, ClickHouse, the workers and the live view.

    A part whose address is in the environment is used instead of a local one. Data, logs and addresses are in .airtally
    (AIRTALLY_HOME). `airtally down` stops it.
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
    live_port = free_port() if any_port or not found.live_port else found.live_port
    return [worker("tally", ports["tally"]), worker("archive", ports["archive"]), display(ports["live"], live_port)]


def live_url(found: Settings) -> str | None:
    """Give the address of the local live view; None: there is none in this folder."""
    state = read_state(found.home)
    return next((entry.serves for entry in state.entries if entry.serves), None) if state is not None else None


def how_to(found: Settings, addresses: Addresses) -> list[str]:
    """Give a line for each address, with what to do there."""
    port = addresses.redis_url.rsplit(":", 1)[-1].split("/")[0]
    url = live_url(found)
    query = f"'SELECT * FROM {found.clickhouse_database}.poll_results FORMAT PrettyCompact'"  # noqa: S608  # for people
    return [
        f"Kafka       {addresses.kafka}  topic {found.topic}, {found.partitions} partitions",
        f"Redis       {addresses.redis_url}  e.g. redis-cli -p {port} hgetall '{{{found.topic}/0}}:head'",
        f"ClickHouse  {addresses.clickhouse_url}  e.g. curl '{addresses.clickhouse_url}' --data-binary {query}",
        *(pages(url) if url else []),
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
    """Say what of the local system runs, answers, and where."""
    found = settings_module.load()
    rows = read_status(found.home)
    if json:
        print_json([asdict(row) for row in rows])
    elif read_state(found.home) is None:
        console.print("nothing is running here: start it by `airtally up`", highlight=False)
    else:
        table = Table("part", "state", "address", "pid", "log", box=None)
        for row in rows:
            state = "answers" if row.answering else f"{'alive' if row.alive else 'down'}: {row.detail}"
            table.add_row(row.name, state, row.address, str(row.pid or ""), row.log_file)
        console.print(table)
        url = live_url(found)
        for line in pages(url) if url else []:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    if any(not row.answering for row in rows):
        raise typer.Exit(1)
