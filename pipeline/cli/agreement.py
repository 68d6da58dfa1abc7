"""Several counts of one show side by side, and whether they agree."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table

from pipeline.archive.recount import recount
from pipeline.cli.context import console
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import PollId
from pipeline.domain.result import merge
from pipeline.errors import PollError
from pipeline.ledger.reader import open_ledgers
from pipeline.settings import Settings
from pipeline.show.expectation import Expectation
from pipeline.show.script import Script

SHOWN_DIFFERENCES = 10


@dataclass(frozen=True)
class Count:
    """What one witness says of a show."""

    by: str
    says: Expectation


async def count_of_ledgers(found: Settings, poll: PollId) -> Count:
    """Ask Redis."""
    async with open_ledgers(found) as reader:
        heads, read = await reader.heads(), merge(poll, await reader.read(poll))
    if read is None:
        raise PollError(f"the ledgers do not know {'/'.join(poll)}")
    outcomes: Counter[Outcome] = Counter()
    for head in heads:
        outcomes.update(head.outcomes)
    cells = Counter({(cell.window_start, cell.option_id): votes for cell, votes in read.windows.items()})
    return Count("Redis", Expectation(*poll, outcomes, Counter(read.outcomes), cells))


async def count_of_archive(found: Settings, poll: PollId) -> Count:
    """Ask ClickHouse to recount."""
    counted = await recount(found, poll)
    cells = Counter({(cell.window_start, cell.option_id): votes for cell, votes in counted.cells.items()})
    outcomes, poll_outcomes = Counter(counted.outcomes), Counter(counted.poll_outcomes)
    return Count("ClickHouse", Expectation(*poll, outcomes, poll_outcomes, cells))


def report(script: Script, counts: list[Count]) -> bool:
    """Print the table; tell whether all counts agree, also in each second and in each outcome."""
    _table(
        "option", [option.option_id for option in script.options], counts, lambda says, row: says.expected_total(row)
    )
    console.print()
    _table("outcome", [*Outcome], counts, lambda says, row: says.outcomes[Outcome(row)])
    expected = counts[0].says
    peak = max(sum(votes.values()) for votes in expected.seconds.values())
    console.print(
        f"\n{len(expected.seconds)} seconds with votes, at most {peak:,} counted in one second", highlight=False
    )
    lines = [f"{count.by}: {line}" for count in counts[1:] for line in expected.differences(count.says)]
    for line in lines[:SHOWN_DIFFERENCES]:
        console.print(f"[red]{line}[/]", highlight=False)
    if lines:
        console.print(f"[bold red]DIFFER[/] in {len(lines)} numbers", highlight=False)
    else:
        console.print("[bold green]ALL AGREE[/]: every option, every outcome, every second", highlight=False)
    return not lines


def _table(title: str, rows: list[str], counts: list[Count], number: Callable[[Expectation, str], int]) -> None:
    table = Table(title, box=None)
    for count in counts:
        table.add_column(count.by, justify="right")
    table.add_column("", justify="left")
    for row in rows:
        numbers = [number(count.says, row) for count in counts]
        same = len(set(numbers)) == 1
        table.add_row(row, *(f"{each:,}" for each in numbers), "[green]=[/]" if same else "[bold red]differ[/]")
    sums = [sum(number(count.says, row) for row in rows) for count in counts]
    table.add_section()
    table.add_row("all", *(f"{each:,}" for each in sums))
    console.print(table)
