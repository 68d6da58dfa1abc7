"""`airtally result`: what Redis says of a poll."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from pipeline.cli.context import Json, command, console, poll_id, print_json, read_result, settings
from pipeline.domain.poll import PollId
from pipeline.domain.result import Result
from pipeline.errors import PollError
from pipeline.log.offsets import LogOffsets
from pipeline.log.topics import check_topic
from pipeline.settings import Settings

LAST_SECONDS = 10  # of the series, on a terminal; --json has all


@command
async def result(
    show: Annotated[str, typer.Argument(help="The show's id.")],
    poll: Annotated[str, typer.Argument(help="The poll's id.")],
    *,
    json: Json = False,
) -> None:
    """Show a poll's result: votes per option, outcomes, votes per second, status, and how far each partition has folded."""
    found = settings()
    name = poll_id(show, poll)
    await check_topic(found)  # of other partitions than the topic has, it would be the result of a part
    read = await read_result(found, name)
    if read is None:
        raise PollError(
            f"no partition knows the poll {show}/{poll}: it was not opened, or the tally has not folded it yet"
        )
    ends = await _ends(found)
    if json:
        print_json(as_json(read, ends))
    else:
        show_result(read, ends)


async def _ends(found: Settings) -> Mapping[int, int]:
    async with LogOffsets(found) as offsets:
        return await offsets.end()


def as_json(read: Result, ends: Mapping[int, int]) -> dict[str, Any]:
    """Give a result in plain types. Instants are ms since the epoch; `seconds` is by the second's start."""
    seconds: dict[str, dict[str, int]] = {}
    for cell, votes in read.windows.items():
        seconds.setdefault(str(cell.window_start), {})[cell.option_id] = votes
    return {
        "show_id": read.poll_id.show_id,
        "poll_id": read.poll_id.poll_id,
        "status": read.status,
        "opened_at": read.rules.opened_at,
        "closed_at": read.closed_at,
        "total": read.total,
        "totals": dict(read.totals),
        "outcomes": dict(read.outcomes),
        "seconds": seconds,
        "conflicting_partitions": list(read.conflicts),
        "voids_in_force": read.voids_in_force,
        "partitions": [
            {"partition": each.partition, "next_offset": each.next_offset, "end_offset": ends.get(each.partition)}
            for each in read.partitions
        ],
    }


def show_result(read: Result, ends: Mapping[int, int]) -> None:
    """Print a result for people."""
    console.print(f"[bold]{title(read.poll_id)}[/]  {read.status}, {read.total:,} votes", highlight=False)
    if read.conflicts:
        console.print(f"[bold red]partitions {list(read.conflicts)} hold other markers: not a result to announce[/]")
    if read.voids_in_force:
        names = f"{read.poll_id.show_id} {read.poll_id.poll_id}"
        console.print(
            f"[yellow]votes are struck from this by {', '.join(read.voids_in_force)}: `airtally audit {names}` has the "
            "official result[/]",
            highlight=False,
        )
    table = Table("option", "label", box=None)
    table.add_column("votes", justify="right")
    table.add_column("share", justify="right")
    for option in read.rules.options:
        votes = read.totals[option.id]
        table.add_row(option.id, _plain(option.label or ""), f"{votes:,}", share(votes, read.total))
    console.print(table)
    console.print(
        "outcomes   " + ", ".join(f"{name} {number:,}" for name, number in read.outcomes.items()), highlight=False
    )
    console.print("last seconds  " + _series(read), highlight=False)
    lags = [ends.get(each.partition, 0) - (each.next_offset or 0) for each in read.partitions]
    folded = (
        "all folded" if not any(lags) else f"{sum(lags):,} records not folded yet, at most {max(lags):,} in a partition"
    )
    console.print(f"partitions {len(lags)}, {folded}", highlight=False)


def title(poll: PollId) -> str:
    """Write a poll's name."""
    return f"{poll.show_id}/{poll.poll_id}"


def share(votes: int, total: int) -> str:
    """Write a share in per cent."""
    return f"{100 * votes / total:.2f} %" if total else "-"


def per_second(read: Result) -> dict[int, int]:
    """Give the votes of all options by the start of their second (ms)."""
    seconds: dict[int, int] = {}
    for cell, votes in read.windows.items():
        seconds[cell.window_start] = seconds.get(cell.window_start, 0) + votes
    return seconds


def _series(read: Result) -> str:
    seconds = per_second(read)
    if not seconds:
        return "-"
    last = max(seconds)
    shown = range(max(min(seconds), last - 1000 * (LAST_SECONDS - 1)), last + 1000, 1000)
    return " ".join(f"{seconds.get(second, 0):,}" for second in shown)


def _plain(label: str) -> str:
    """Keep a label from being read as markup, or from moving the cursor."""
    return "".join(character if character.isprintable() else "?" for character in label).replace("[", r"\[")
