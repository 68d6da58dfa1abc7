"""`airtally load`: simulated viewers against an edge, and an oracle of what they were told."""

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pipeline.cli.context import command, console, errors, poll_id, read_result, settings, writable, write
from pipeline.cli.local import served
from pipeline.descriptors import allow_descriptors
from pipeline.domain.poll import PollId
from pipeline.domain.result import Result
from pipeline.errors import PollError, UnavailableError
from pipeline.garbage import collect_rarely
from pipeline.ledger.reader import open_ledgers
from pipeline.load.crowd import Crowd
from pipeline.load.oracle import Oracle
from pipeline.load.plan import Plan, check_loopback
from pipeline.log.offsets import LogOffsets
from pipeline.log.topics import check_topic
from pipeline.settings import Settings
from pipeline.waiting import repeating

FOLDED_S = 60.0  # how long --check waits for the tally
LATE_S = 30.0  # what was sent again, or had no answer, may come into the log as late as this


@command
async def load(  # noqa: PLR0913, PLR0917  # options of a command
    show: Annotated[str, typer.Argument(help="The show's id.")],
    poll: Annotated[str, typer.Argument(help="The poll's id: an open poll.")],
    url: Annotated[
        str | None, typer.Option(help="The edge's address. Default: the local system's, or port 8091 here.")
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, help="Requests, or messages, per second.")] = 1_000,
    duration: Annotated[float, typer.Option(min=0.1, help="Seconds.")] = 10.0,
    connections: Annotated[int, typer.Option(min=1, help="At once.")] = 200,
    sockets: Annotated[
        bool, typer.Option("--sockets", help="Over WebSocket: every connection is opened before, and stays.")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, max=500, help="Votes in a request; more than one needs a token.")] = 1,
    token: Annotated[str | None, typer.Option(help="Of an edge in front.")] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds until a viewer tries again.")] = 5.0,
    expect: Annotated[Path | None, typer.Option(help="Where to write what was acknowledged, as JSON.")] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Wait for the tally, and compare: exit status 1 if a vote is missing or too many."
        ),
    ] = False,
    allow_remote: Annotated[bool, typer.Option("--allow-remote", help="Load a machine that is not this one.")] = False,
) -> None:
    """Send simulated viewers' votes to an edge, as real clients do: at their own pace, and again with the same id if need be.

    Latencies count from the instant at which a vote was due, whatever kept it. An answer of 202 must be counted, a refusal must
    not, and what had no answer may be: --check holds the result to that.

    Example: airtally load gala best --rate 5000 --duration 20 --check
    """
    name = poll_id(show, poll)
    found = settings()
    if expect is not None:
        writable(expect, "--expect")
    await check_topic(found)
    if check:
        await _folded(found)  # what others have sent is not to count as ours
    before = await read_result(found, name, windows=False)
    if before is None:
        raise PollError(f"no partition knows the poll {show}/{poll}: open it by `airtally poll open`")
    plan = Plan(
        url or served(found, "edge") or "http://127.0.0.1:8091",
        name, tuple(option.id for option in before.rules.options), rate, duration, connections,
        batch=batch, token=token, is_socket=sockets, timeout_s=timeout_s,
    )  # fmt: skip
    if not allow_remote:
        check_loopback(plan.host[0])
    allow_descriptors(connections)
    collect_rarely()  # a pause would count as the server's time
    oracle = await _play(plan)
    agrees = not check or await _agrees(found, name, before, oracle)
    if expect is not None:
        write(expect, oracle.to_json(), "--expect")
        console.print(f"acknowledged: {expect}", highlight=False)
    if not agrees:
        raise typer.Exit(1)


async def _play(plan: Plan) -> Oracle:
    crowd = Crowd(plan)
    if plan.is_socket:
        console.print(f"{await crowd.connect():,} of {plan.connections:,} sockets are open", highlight=False)
    began = time.monotonic()

    def progress() -> None:
        errors.print(
            f"{time.monotonic() - began:5.0f} s  sent {crowd.fired:>10,}  acknowledged {crowd.oracle.totals.total():>10,}",
            highlight=False,
        )

    try:
        async with repeating(progress, 2.0):
            oracle = await crowd.play()
    finally:
        await crowd.close()
    _show(oracle, time.monotonic() - began)
    return oracle


def _show(oracle: Oracle, seconds: float) -> None:
    total = oracle.totals.total()
    console.print(
        f"[bold]{total:,} votes acknowledged[/] in {seconds:.1f} s, {total / seconds:,.0f}/s", highlight=False
    )
    table = Table("latency", *oracle.latency_ms(), box=None)
    table.add_row("ms", *(f"{value:,.1f}" for value in oracle.latency_ms().values()))
    console.print(table)
    console.print(
        f"answers {dict(oracle.answers)}, sent again {oracle.retries:,}, refused {dict(oracle.refused)}, "
        f"undecided {oracle.undecided.total():,}",
        highlight=False,
    )


async def _agrees(found: Settings, name: PollId, before: Result, oracle: Oracle) -> bool:
    """Wait until the tally has all that can be in the log, and compare: a vote too many may be the last to come."""
    if oracle.retries or oracle.undecided:
        console.print(f"waits {LATE_S:.0f} s for what was sent again, or had no answer", highlight=False)
        await asyncio.sleep(LATE_S)
    await _folded(found)
    read = await read_result(found, name, windows=False)
    counted = {} if read is None else {key: votes - before.totals[key] for key, votes in read.totals.items()}
    differences = oracle.differences(counted)
    for line in differences:
        console.print(f"[bold red]differs[/] {line}", highlight=False)
    if not differences:
        console.print(f"counted {sum(counted.values()):,}: [bold green]agrees[/]", highlight=False)
    return not differences


async def _folded(found: Settings) -> None:
    """Wait until the ledgers have all that is in the log now.

    Raises:
        UnavailableError: they have not within a bounded time.
    """
    deadline = time.monotonic() + FOLDED_S
    async with open_ledgers(found) as ledgers, LogOffsets(found) as offsets:
        ends = await offsets.end()
        while True:
            heads = {head.partition: head.next_offset for head in await ledgers.heads()}
            behind = [partition for partition, end in ends.items() if heads.get(partition, 0) < end]
            if not behind:
                return
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"the tally has not folded partitions {behind} within {FOLDED_S:.0f} s as far as the log goes: does "
                    "`airtally tally` run? Its /readyz tells"
                )
            await asyncio.sleep(0.2)
