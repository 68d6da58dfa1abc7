"""Several counts of one show side by side, and whether they agree."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import msgspec
from rich.table import Table

from pipeline.archive.recount import recount, votes_by_edge
from pipeline.cli.context import console
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import PollId, Status
from pipeline.domain.result import merge
from pipeline.errors import PollError
from pipeline.ledger.connection import connect
from pipeline.ledger.reader import open_ledgers
from pipeline.live.display import Display
from pipeline.live.seconds import Series
from pipeline.live.snapshot import Snapshot
from pipeline.load.fronts import Fronts
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


@dataclass(frozen=True)
class OnAir:
    """What the display says of a poll: what viewers saw last. It knows the poll's own records, and the last two minutes."""

    shown: Snapshot
    series: Series

    def votes(self, option_id: str) -> int:
        """Votes of an option."""
        return sum(option.votes for option in self.shown.options if option.id == option_id)

    def differences(self, expected: Expectation) -> list[str]:
        """Say where it is not what is expected, a line each."""
        first, options = self.series.first, self.series.options
        seconds = [first + index * self.series.window_ms for index in range(len(self.series.votes))]
        pairs = [
            ("status", str(Status.FINAL), str(self.shown.status)),
            ("votes", expected.counted, self.shown.total),
            *((option, expected.expected_total(option), self.votes(option)) for option in options),
            *((name, expected.poll_outcomes[name], self.shown.outcomes.get(name, 0)) for name in Outcome),
            *(
                (f"second {second} of {option}", expected.cells[second, option], votes)
                for second, row in zip(seconds, self.series.votes, strict=True)
                for option, votes in zip(options, row, strict=True)
            ),
        ]
        return [f"{name}: expected {ours}, shown {theirs}" for name, ours, theirs in pairs if ours != theirs]


async def on_air(found: Settings, poll: PollId) -> OnAir | None:
    """Read the display as a graphics maker does, from its one key; None: there is none of this poll."""
    client = connect(found)
    try:
        shown, series = await Display(client, found.topic, found.partitions).load(poll)
    finally:
        await client.aclose()
    if shown is None or series is None:
        return None
    return OnAir(shown.snapshot, msgspec.json.decode(series, type=Series))


@dataclass(frozen=True)
class ThroughEdge:
    """Votes that came through the edge, by the edge in front of it: what it acknowledged, and what is in the log of that."""

    acknowledged: Mapping[str, int]
    stored: Mapping[str, int]
    arrays: int

    def differences(self) -> list[str]:
        """Say where the log has fewer or more than were acknowledged, a line each."""
        return [
            f"{edge_id}: {votes} acknowledged, {self.stored.get(edge_id, 0)} stored"
            for edge_id, votes in self.acknowledged.items()
            if self.stored.get(edge_id, 0) != votes
        ]


async def through_edge(found: Settings, poll: PollId, fronts: Fronts) -> ThroughEdge:
    """Ask ClickHouse what it has of the edges in front."""
    return ThroughEdge(fronts.acknowledged, await votes_by_edge(found, poll), fronts.arrays)


def report(script: Script, counts: list[Count], air: OnAir, edge: ThroughEdge) -> bool:
    """Print the tables; tell whether all counts agree, also in each second and in each outcome, and the air with them.

    And whether all that the edge has acknowledged, and nothing else from there, is in the log.
    """
    _table(
        "option",
        [option.option_id for option in script.options],
        counts,
        lambda says, row: says.expected_total(row),
        air.votes,
    )
    console.print()
    _table("outcome", [*Outcome], counts, lambda says, row: says.outcomes[Outcome(row)])
    votes, names = sum(edge.acknowledged.values()), ", ".join(edge.acknowledged)
    console.print(
        f"\nThrough the edge: {votes:,} votes in {edge.arrays:,} arrays from {names}, each acknowledged (202)",
        highlight=False,
    )
    expected = counts[0].says
    peak = max(sum(votes.values()) for votes in expected.seconds.values())
    console.print(
        f"{len(expected.seconds)} seconds with votes, at most {peak:,} counted in one second", highlight=False
    )
    lines = [f"{count.by}: {line}" for count in counts[1:] for line in expected.differences(count.says)]
    lines += [f"On air: {line}" for line in air.differences(expected)]
    lines += [f"Through the edge: {line}" for line in edge.differences()]
    for line in lines[:SHOWN_DIFFERENCES]:
        console.print(f"[red]{line}[/]", highlight=False)
    if lines:
        console.print(f"[bold red]DIFFER[/] in {len(lines)} numbers", highlight=False)
    else:
        console.print("[bold green]ALL AGREE[/]: every option, every outcome, every second", highlight=False)
    return not lines


def _table(
    title: str,
    rows: list[str],
    counts: list[Count],
    number: Callable[[Expectation, str], int],
    shown: Callable[[str], int] | None = None,
) -> None:
    columns: list[tuple[str, Callable[[str], int]]] = [(count.by, partial(number, count.says)) for count in counts]
    if shown is not None:
        columns.append(("on air", shown))
    table = Table(title, box=None)
    for by, _ in columns:
        table.add_column(by, justify="right")
    table.add_column("", justify="left")
    for row in rows:
        numbers = [says(row) for _, says in columns]
        same = len(set(numbers)) == 1
        table.add_row(row, *(f"{each:,}" for each in numbers), "[green]=[/]" if same else "[bold red]differ[/]")
    sums = [sum(map(says, rows)) for _, says in columns]
    table.add_section()
    table.add_row("all", *(f"{each:,}" for each in sums))
    console.print(table)
