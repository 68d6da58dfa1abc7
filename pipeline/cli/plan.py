"""`airtally plan`: what a peak will do to a system, before anybody votes."""

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pipeline.capacity.costs import Costs, read_costs
from pipeline.capacity.model import Deployment, Forecast, Peak, forecast
from pipeline.cli.context import Json, command, console, print_json

PART = {
    "workers": "the tally's workers",
    "redis": "Redis",
    "partitions": "the partitions, one chunk at a time each",
    "cores": "the cores that everything shares",
}


@command
def plan(  # noqa: PLR0913, PLR0917  # options of a command
    votes_per_s: Annotated[float, typer.Option("--votes-per-s", min=1, help="Votes per second at the peak.")] = 250_000,
    seconds: Annotated[float, typer.Option(min=0.001, help="How long the peak lasts.")] = 5.0,
    after: Annotated[float, typer.Option(min=0, help="Votes per second after the peak.")] = 0.0,
    before: Annotated[int, typer.Option(min=0, help="Votes that the ledgers hold already.")] = 0,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of the topic.")] = 12,
    workers: Annotated[int, typer.Option(min=1, help="Tally workers.")] = 1,
    shards: Annotated[int, typer.Option(min=1, help="Redis servers that the ledgers are spread over.")] = 1,
    cores: Annotated[float | None, typer.Option(min=0.1, help="Everything shares a machine with so many.")] = None,
    costs: Annotated[Path | None, typer.Option(help="What a vote costs, as `python -m bench.model` writes it.")] = None,
    json: Json = False,
) -> None:
    """Forecast a peak: backlog, how far behind the air is, what limits it, and memory.

    Example: airtally plan --votes-per-s 250000 --seconds 5 --partitions 12 --workers 2 --shards 1
    """
    for name, value in (("--votes-per-s", votes_per_s), ("--seconds", seconds), ("--cores", cores or 0.0)):
        if not math.isfinite(value):
            raise typer.BadParameter(f"{value} is no number that a plan can be made with", param_hint=name)
    if after > votes_per_s:
        raise typer.BadParameter("what comes after the peak is not more than the peak", param_hint="--after")
    said = forecast(
        read_costs(costs) if costs is not None else Costs(),
        Deployment(partitions=partitions, workers=workers, shards=shards, cores=cores),
        Peak(votes_per_s=votes_per_s, seconds=seconds, after_per_s=after, votes_before=before),
    )
    if json:
        fields = {name: getattr(said, name) for name in Forecast.__dataclass_fields__}
        never = {name: "never" for name, value in fields.items() if value == math.inf}  # JSON has no infinity
        print_json({**fields, **never, "bottleneck": said.bottleneck})
    else:
        _print(said, votes_per_s)


def _print(said: Forecast, votes_per_s: float) -> None:
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("bottleneck", f"{PART[said.bottleneck]}: {said.votes_per_s:,.0f} votes/s while the peak lasts")
    for part, rate in sorted(said.limits.items(), key=lambda item: item[1])[1:]:
        table.add_row("", f"then {PART[part]}: {rate:,.0f}")
    table.add_row(
        "load", f"{votes_per_s / said.votes_per_s:.0%}" if said.votes_per_s else "everything goes into publishing"
    )
    table.add_row("backlog", f"{said.backlog:,.0f} votes at the end of the peak")
    table.add_row("the air", f"{said.staleness_s:,.2f} s behind at worst")
    table.add_row("drained", f"{said.drained_s:,.1f} s after the peak")
    table.add_row("Redis", f"{said.ledger_bytes_per_shard / 1e6:,.0f} MB on the fullest server")
    table.add_row(
        "workers",
        f"{said.remembered_bytes_per_worker / 1e6:,.0f} MB of memory for votes remembered by the one with most partitions, "
        f"and {said.filed_bytes_per_worker / 1e6:,.0f} MB of its disk",
    )
    table.add_row("Kafka", f"{said.log_bytes / 1e6:,.0f} MB of disk on each replica for the peak")
    console.print(table, highlight=False)
