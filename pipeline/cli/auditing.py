"""The three witnesses brought together: Redis and Kafka by the audit, ClickHouse by the archive, which knows nothing of it."""

import asyncio
import time

from pipeline.archive.digests import Range, stored_ranges
from pipeline.archive.polls import stored_polls
from pipeline.archive.recount import PartitionRecount, recount
from pipeline.archive.store import ArchiveStore
from pipeline.archive.strays import voters_in_several_partitions, votes_in_several_partitions
from pipeline.audit.ask import ask_ledgers, ask_log
from pipeline.audit.compare import Audit, audit
from pipeline.audit.witness import ArchiveWitness, LedgerWitness, LogWitness, PollRecount, Stray
from pipeline.domain.poll import PollId
from pipeline.errors import UnavailableError
from pipeline.log.topics import check_topic
from pipeline.settings import Settings


async def run_audit(found: Settings, poll: PollId, wait_s: float) -> Audit:
    """Ask all three about the log up to where the ledgers stand now, and compare.

    Raises:
        PollError: there is no such poll.
        TopicMismatchError: the topic has other partitions than the settings say: some would not be looked at.
        UnavailableError: one of them does not answer, or the archive does not come that far within `wait_s`.
    """
    await check_topic(found)
    ledgers = await ask_ledgers(found, poll)
    cuts = {ledger.partition: ledger.next_offset for ledger in ledgers}
    await _archived(found, cuts, wait_s)
    log, (archive, strays) = await asyncio.gather(
        ask_log(found, poll, {ledger.partition: (ledger.base, ledger.next_offset) for ledger in ledgers}),
        _recounted(found, poll, ledgers, cuts),
    )
    held = {ledger.partition: (ledger.base, ledger.next_offset) for ledger in ledgers}
    return audit(log, ledgers, await _witnesses(found, poll, held, log, archive), strays)


async def _archived(found: Settings, cuts: dict[int, int], wait_s: float) -> None:
    """Wait until the archive has come as far as the ledgers: it flushes once a second."""
    store, deadline = ArchiveStore(found), time.monotonic() + wait_s
    try:
        while True:
            stored = await store.next_offsets(found.topic, cuts)
            behind = {partition: cut for partition, cut in cuts.items() if stored.get(partition, 0) < cut}
            if not behind:
                return
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"the archive has not stored partitions {sorted(behind)} as far as the ledgers have counted them within "
                    f"{wait_s:.0f} s: does `airtally archive` run? Its /readyz tells"
                )
            await asyncio.sleep(0.1)
    finally:
        await store.close()


async def _recounted(
    found: Settings, poll: PollId, ledgers: list[LedgerWitness], cuts: dict[int, int]
) -> tuple[dict[int, PartitionRecount], list[Stray]]:
    counted = await recount(found, poll, cuts, vote_ids=True)
    rules = next(ledger.poll.rules for ledger in ledgers if ledger.poll is not None)
    voters = await voters_in_several_partitions(found, poll, cuts, rules.votes_per_voter)
    strays = [
        Stray(each.what, each.name, each.counted, each.allowed, each.partitions)
        for each in (*voters, *votes_in_several_partitions(counted))
    ]
    return {each.partition: each for each in counted.partitions}, strays


async def _witnesses(
    found: Settings,
    poll: PollId,
    held: dict[int, Range],
    log: list[LogWitness],
    recounted: dict[int, PartitionRecount],
) -> list[ArchiveWitness]:
    stored = await stored_ranges(found, held, {each.partition: each.read for each in log})
    polls = await stored_polls(found, poll, {partition: cut for partition, (_, cut) in held.items()})
    witnesses = []
    for partition in held:
        counted = recounted.get(partition, PartitionRecount(partition))
        of_poll, records = polls.get(partition), stored[partition]
        witnesses.append(
            ArchiveWitness(
                partition,
                records.rows,
                records.distinct,
                records.gaps,
                records.digest,
                counted.outcomes,
                None if of_poll is None else PollRecount(**vars(of_poll)),
                counted.poll_outcomes,
                counted.cells,
                counted.struck,
            )
        )
    return witnesses
