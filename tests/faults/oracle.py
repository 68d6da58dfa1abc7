"""What an exact count must say, from the source alone: what was planned, and how often each of it is in the log."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from pipeline.domain.record import encode
from pipeline.log.connection import client_options
from pipeline.log.publisher import partition_of
from pipeline.settings import Settings
from pipeline.show.expectation import MARKER, Expectation, Fate
from pipeline.show.script import Script
from tests.faults.journal import Journal, Rehearsal, fate_of_copy

Placed = tuple[int, bytes | None, bytes | None]  # partition, key, value


class Logged(NamedTuple):
    """A record of the log."""

    append_time: int  # ms since the epoch
    key: bytes | None
    value: bytes | None


Log = Mapping[int, Sequence[Logged]]  # by partition, in the order of offsets


@dataclass(frozen=True)
class Truth:
    """What must be counted, and what the log itself has lost or made up."""

    expected: Expectation
    copies: int  # records that are in the log more often than planned: sent again, since nobody acknowledged them
    lost_by_log: int  # acknowledged, and not there
    unknown: int  # there, and planned by nobody
    lines: list[str] = field(default_factory=list)  # what else cannot be, in words
    doubts: list[str] = field(default_factory=list)  # whether the show was one, in words


async def read_log(found: Settings) -> Log:
    """Read the whole topic, record by record, with a plain consumer."""
    consumer = AIOKafkaConsumer(**client_options(found), group_id=None, enable_auto_commit=False)
    await consumer.start()
    try:
        tps = [TopicPartition(found.topic, partition) for partition in range(found.partitions)]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        ends = await consumer.end_offsets(tps)
        log: dict[int, list[Logged]] = {partition: [] for partition in range(found.partitions)}
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for tp, records in (await consumer.getmany(timeout_ms=500, max_records=20_000)).items():
                log[tp.partition] += [Logged(record.timestamp, record.key, record.value) for record in records]
        return log
    finally:
        await consumer.stop()


def truth(script: Script, seed: int, journal: Journal, log: Log) -> Truth:
    """Hold the plan against the log."""
    there = Counter((partition, each.key, each.value) for partition, records in log.items() for each in records)
    expected = Expectation(script.show_id, script.poll_id)
    planned: Counter[Placed] = Counter()
    fate_of: dict[Placed, Fate] = {}
    for place, fate in _planned(script, seed, journal, len(log)):
        planned[place] += 1
        fate_of.setdefault(place, fate)
        expected.expect(fate)
    copies = there - planned
    known = {place: times for place, times in copies.items() if place in fate_of}
    for place, times in known.items():
        expected.expect(fate_of_copy(fate_of[place]), times)
    return Truth(expected, sum(known.values()), (planned - there).total(), copies.total() - sum(known.values()))


def _planned(script: Script, seed: int, journal: Journal, partitions: int) -> list[tuple[Placed, Fate]]:
    plan: list[tuple[Placed, Fate]] = []
    for step in Rehearsal(script, seed).steps(journal.entries):
        if step.marker is not None:
            key, value = f"{script.show_id}/{script.poll_id}".encode(), encode(step.marker)
            plan += [((partition, key, value), MARKER) for partition in range(partitions)]
        for record in step.block:
            partition = 0 if record.key is None else partition_of(record.key, partitions)
            plan.append(((partition, record.key, record.value), record.fate))
    return plan
