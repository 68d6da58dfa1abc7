"""`airtally audit`: is that the result?"""

from typing import Annotated, Any

import typer
from rich.table import Table

from pipeline.audit.compare import Audit
from pipeline.audit.witness import ArchiveWitness, LogWitness
from pipeline.cli.context import Json, command, console, poll_id, print_json, settings
from pipeline.domain.outcome import Outcome

SHOWN_DIFFERENCES = 20

Show = Annotated[str, typer.Argument(help="The show's id.")]
Poll = Annotated[str, typer.Argument(help="The poll's id.")]
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait until the archive has come as far as the ledgers.")]


@command
async def audit(show: Show, poll: Poll, *, wait: Wait = 30.0, json: Json = False) -> None:
    """Ask Kafka, Redis and ClickHouse about a poll, and say AGREE or where exactly they differ.

    Kafka: offsets, markers and the bytes themselves. Redis: the ledgers. ClickHouse: every record, recounted from raw bytes
    by rules written in SQL, over all partitions. Works during the show, up to where the ledgers stand, and after it. Records
    that retention has deleted from Kafka are the word of the other two: AGREE says how many Kafka still has. Exit status 0 if
    all three agree, 1 if not.
    """
    from pipeline.cli.auditing import run_audit  # noqa: PLC0415  # slow to import, see services

    found, name = settings(), poll_id(show, poll)
    done = await run_audit(found, name, wait)
    if json:
        print_json(as_json(done))
    else:
        show_audit(done)
    if not done.agrees:
        raise typer.Exit(1)


def as_json(done: Audit) -> dict[str, Any]:
    """Give an audit in plain types."""
    return {
        "agrees": done.agrees,
        "final": done.is_final,
        "differences": [
            {"partition": difference.partition, "what": difference.what} for difference in done.differences
        ],
        "counted": done.counted,
        "struck": done.struck,
        "official": done.official,
        "records": done.records,
        "records_in_log": done.in_log,
        "partitions": [
            {
                "partition": ledger.partition,
                "log_begin": log.begin,
                "log_end": log.end,
                "audited_to": ledger.next_offset,
                "stored_rows": archive.rows,
                "stored_records": archive.distinct,
                "digest_of": list(log.read),
                "digest": log.digest.hex(),
                "archive_digest": archive.digest.hex(),
                "outcomes": {"ledger": ledger.outcomes, "archive": archive.outcomes},
            }
            for log, ledger, archive in zip(done.log, done.ledgers, done.archive, strict=True)
        ],
    }


def show_audit(done: Audit) -> None:
    """Print an audit for people."""
    console.print(_partitions(done))
    console.print()
    console.print(_outcomes(done))
    console.print()
    console.print(_options(done))
    for void, partitions in done.voids.items():
        state = "in force" if void.in_force else "taken back"
        where = "" if len(partitions) == len(done.ledgers) else f" in partitions {partitions}"
        console.print(
            f"void {void.decision.void_id}, {state}{where}: {void.decision.reason}", markup=False, highlight=False
        )
    console.print()
    for difference in done.differences[:SHOWN_DIFFERENCES]:
        console.print(f"  {difference}", style="red", markup=False, highlight=False)
    if done.differences:
        console.print(f"[bold red]DIFFER[/] in {len(done.differences)} points", highlight=False)
    else:
        console.print(f"[bold green]AGREE[/]: {_agreed(done)}", highlight=False, soft_wrap=True)


def _agreed(done: Audit) -> str:
    """Say on what they agree: of records that retention has deleted Kafka says nothing."""
    records = f"on each of {done.records:,} records" + ("" if done.is_final else " so far")
    said = f"Kafka, Redis and ClickHouse, {records}"
    if done.in_log < done.records:
        deleted = "the word of the other two alone" if done.shortened else "from before this poll"
        said = (
            f"Redis and ClickHouse, {records}; Kafka, on the {done.in_log:,} of them that retention has left. What it deleted "
            f"is {deleted}"
        )
    return said if done.is_final else f"{said}; the poll is not final"


def _partitions(done: Audit) -> Table:
    table = Table("partition", "log", "audited to", "records in Redis", "in ClickHouse", "stored", "bytes", box=None)
    for log, ledger, archive in zip(done.log, done.ledgers, done.archive, strict=True):
        table.add_row(
            str(ledger.partition),
            f"{log.begin} to {log.end}",
            str(ledger.next_offset),
            f"{sum(ledger.outcomes.values()):,}",
            f"{archive.distinct:,}",
            "once" if archive.rows == archive.distinct else f"{archive.rows - archive.distinct:,} twice, read once",
            _bytes(log, archive, ledger.next_offset - ledger.base),
        )
    return table


def _bytes(log: LogWitness, archive: ArchiveWitness, records: int) -> str:
    if log.digest != archive.digest:
        return "[bold red]differ[/]"
    in_log = log.read[1] - log.read[0]
    return "the same" if in_log == records else f"[bold yellow]the same, of {in_log:,} in Kafka[/]"


def _outcomes(done: Audit) -> Table:
    table = Table("outcome", box=None)
    for witness in ("Redis", "ClickHouse"):
        table.add_column(witness, justify="right")
    for outcome in Outcome:
        one = sum(ledger.outcomes.get(outcome, 0) for ledger in done.ledgers)
        other = sum(archive.outcomes.get(outcome, 0) for archive in done.archive)
        if one or other:
            table.add_row(outcome, f"{one:,}", f"{other:,}")
    return table


def _options(done: Audit) -> Table:
    table = Table("option", box=None)
    for column in ("Redis", "ClickHouse", "struck", "official"):
        table.add_column(column, justify="right")
    recounted, struck, official = done.recounted, done.struck, done.official
    for option_id, votes in done.counted.items():
        numbers = (votes, recounted[option_id], struck[option_id], official[option_id])
        table.add_row(option_id, *(f"{number:,}" for number in numbers))
    return table
