"""Asking two of the witnesses: Redis for the ledgers, Kafka for the log up to where they stand."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from pipeline.audit.leaf import leaves_of
from pipeline.audit.witness import LedgerWitness, LogWitness
from pipeline.domain.poll import PollId
from pipeline.domain.record import Vote, decode
from pipeline.errors import PollError
from pipeline.ledger.reader import open_ledgers
from pipeline.log.offsets import LogOffsets
from pipeline.log.reading import read_ranges
from pipeline.settings import Settings


async def ask_ledgers(settings: Settings, poll_id: PollId) -> list[LedgerWitness]:
    """Read what the ledgers say of a poll, each at one moment.

    Raises:
        PollError: a partition has no ledger, or none of them knows the poll.
        UnavailableError: Redis does not answer.
    """
    async with open_ledgers(settings) as reader:
        readings = await reader.read_with_heads(poll_id)
    found = [
        LedgerWitness(
            head.partition,
            head.base,
            head.next_offset,
            head.outcomes,
            reading.poll,
            reading.totals,
            reading.outcomes,
            reading.windows,
        )
        for head, reading in readings
        if head is not None
    ]
    if len(found) < len(readings):
        missing = sorted({reading.partition for _, reading in readings} - {ledger.partition for ledger in found})
        raise PollError(f"there are no ledgers of partitions {missing}: does `airtally tally` run? Its /readyz tells")
    if all(ledger.poll is None for ledger in found):
        raise PollError(f"the ledgers do not know the poll {'/'.join(poll_id)}")
    return found


async def ask_log(settings: Settings, poll_id: PollId, cuts: Mapping[int, tuple[int, int]]) -> list[LogWitness]:
    """Read the log of each partition from its begin to the ledger's cut: its hashes, and where the poll's markers are.

    Args:
        settings: where the log is.
        poll_id: the poll.
        cuts: for each partition, the ledger's base and next offset.

    Raises:
        UnavailableError: Kafka does not answer.
    """
    async with LogOffsets(settings) as offsets:
        begins, ends = await offsets.begin(), await offsets.end()
    ranges = {
        partition: (first := max(base, begins[partition]), max(first, min(cut, ends[partition])))
        for partition, (base, cut) in cuts.items()
    }
    digests = {partition: hashlib.sha256() for partition in ranges}
    markers: dict[int, dict[str, list[int]]] = {partition: defaultdict(list) for partition in ranges}
    async for batch in read_ranges(settings, ranges):
        digests[batch.partition].update(b"".join(leaves_of(batch)))
        for kind, offset in _markers(poll_id, batch.values, batch.first_offset):
            markers[batch.partition][kind].append(offset)
    return [
        LogWitness(
            partition, begins[partition], ends[partition], wanted, digests[partition].digest(), markers[partition]
        )
        for partition, wanted in ranges.items()
    ]


def _markers(poll_id: PollId, values: Sequence[bytes | None], first_offset: int) -> list[tuple[str, int]]:
    """Find the poll's markers. A marker says "poll. or "votes., or writes it with an escape: other values are not decoded."""
    found = []
    for offset, value in enumerate(values, first_offset):
        if value is None or not (b'"poll.' in value or b'"votes.' in value or b"\\" in value):
            continue
        record = decode(value)
        if record is not None and not isinstance(record, Vote) and (record.show_id, record.poll_id) == poll_id:
            found.append((str(type(record).__struct_config__.tag), offset))
    return found
