"""`airtally rebuild`: a ledger thrown away and folded again, and whether the numbers are the same."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping
from enum import StrEnum
from typing import Annotated

import typer

from pipeline.audit.rebuild import fold_again
from pipeline.cli.context import command, console, errors, settings
from pipeline.domain.batch import RecordBatch
from pipeline.domain.poll import PollId
from pipeline.domain.result import PartitionReading
from pipeline.errors import PollError, UnavailableError
from pipeline.ledger.connection import connect
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.reader import LedgerReader
from pipeline.log.offsets import LogOffsets
from pipeline.log.topics import check_topic
from pipeline.settings import Settings

READ_RECORDS = 20_000  # of ClickHouse, at a time


class Source(StrEnum):
    """Where the records are read again."""

    KAFKA = "kafka"
    CLICKHOUSE = "clickhouse"


Readings = Mapping[tuple[PollId, int], PartitionReading]


@command
async def rebuild(
    partition: Annotated[
        list[int] | None, typer.Option(help="Which partition. Also several times. Default: all.")
    ] = None,
    source: Annotated[Source, typer.Option("--from", help="Where the records come from.")] = Source.KAFKA,
    wait: Annotated[float, typer.Option(min=1, help="Seconds to wait for the workers, from kafka.")] = 300.0,
) -> None:
    """Throw ledgers away and count them again. The air holds the last result meanwhile, and says that it is recounting.

    From kafka (the default) the tally workers do it: the log must still begin where the ledgers did. From clickhouse, when
    retention has passed that, this command folds the archive's raw bytes; stop the tally workers first, and start them again
    afterwards: they go on where it ends. Exit status 1 if a number differs from what it was.
    """
    found = settings()
    partitions = sorted(set(partition or range(found.partitions)))
    if not set(partitions) <= set(range(found.partitions)):
        raise PollError(f"--partition {partitions}: there are partitions 0 to {found.partitions - 1}")
    await check_topic(found)
    client = connect(found)
    began = time.monotonic()
    try:
        ledger = Ledger(client, found.topic)
        reader = LedgerReader(client, found.topic, partitions)
        polls = await LedgerReader(client, found.topic, range(found.partitions)).polls()
        before, bases = await _read(reader, polls), {head.partition: head.base for head in await reader.heads()}
        if source is Source.KAFKA:
            await _from_kafka(found, ledger, bases, partitions, wait)
        else:
            await _from_clickhouse(found, ledger, bases, partitions)
        lines = _differences(before, await _read(reader, polls))
    finally:
        await client.aclose()
    for line in lines:
        console.print(line, style="red", markup=False, highlight=False)
    if lines:
        raise typer.Exit(1)
    console.print(
        f"{len(partitions)} ledgers counted again in {time.monotonic() - began:.1f} s: every number is what it was",
        highlight=False,
    )


async def _from_kafka(
    found: Settings, ledger: Ledger, bases: Mapping[int, int], partitions: list[int], timeout_s: float
) -> None:
    async with LogOffsets(found) as offsets:
        begins = await offsets.begin(*partitions)
    if gone := [each for each in partitions if begins[each] > bases.get(each, 0)]:
        raise PollError(
            f"Kafka's log of partitions {gone} begins behind where their ledgers did: nothing was thrown away. Use `airtally "
            "rebuild --from clickhouse`"
        )
    reached = {each: await ledger.next_offset(each) or 0 for each in partitions}
    for each in partitions:
        await ledger.reset(
            each, bases.get(each) or None
        )  # where it began behind the log's begin, a worker would not begin it
    deadline = time.monotonic() + timeout_s
    while behind := [each for each in partitions if (await ledger.next_offset(each) or 0) < reached[each]]:
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"partitions {behind} are not counted again within {timeout_s:.0f} s: does `airtally tally` run? Its log "
                "says if the records are not in Kafka any more; then stop it and use `airtally rebuild --from clickhouse`"
            )
        await asyncio.sleep(0.1)


async def _from_clickhouse(found: Settings, ledger: Ledger, bases: Mapping[int, int], partitions: list[int]) -> None:
    from pipeline.archive.digests import records_at  # noqa: PLC0415  # slow to import, see services
    from pipeline.archive.store import ArchiveStore  # noqa: PLC0415

    store = ArchiveStore(found)
    try:
        held = {each.partition: each for each in await store.arithmetic(found.topic)}
    finally:
        await store.close()
    counted = {each: await ledger.next_offset(each) or 0 for each in partitions}
    incomplete = [
        each
        for each in partitions
        if each not in held
        or held[each].missing
        or held[each].min_offset > bases.get(each, held[each].min_offset)
        or held[each].max_offset + 1 < counted[each]
    ]
    if incomplete:
        raise PollError(
            f"ClickHouse has not every record that was counted of partitions {incomplete}: nothing was thrown away. If "
            "`airtally archive` is behind, wait for it"
        )

    async def read(each: int, first: int, end: int) -> AsyncIterator[RecordBatch]:
        while first < end:
            batch = await records_at(found, each, (first, min(end, first + READ_RECORDS)))
            if not len(batch):
                return
            yield batch
            first = batch.next_offset

    for each in partitions:
        first, end = held[each].min_offset, held[each].max_offset + 1
        reached = await fold_again(ledger, each, first, read(each, first, end))
        errors.print(f"partition {each}: {reached - first:,} records", highlight=False)


async def _read(reader: LedgerReader, polls: Collection[PollId]) -> Readings:
    return {(poll, each.partition): each for poll in polls for each in await reader.read(poll)}


def _differences(before: Readings, after: Readings) -> list[str]:
    """Compare what was counted. A ledger that has gone on since may have more of everything, and less of nothing."""
    lines = []
    for (poll, partition), old in before.items():
        new = after.get((poll, partition), PartitionReading(partition, None))
        gone_on = (new.next_offset or 0) > (old.next_offset or 0)
        for name in ("totals", "outcomes", "windows"):
            was, now = getattr(old, name), getattr(new, name)
            lines += [
                f"{'/'.join(poll)}, partition {partition}, {name} {key}: was {was.get(key, 0)}, is {now.get(key, 0)}"
                for key in sorted({*was, *now}, key=str)
                if now.get(key, 0) < was.get(key, 0) or (now.get(key, 0) != was.get(key, 0) and not gone_on)
            ]
    return lines
