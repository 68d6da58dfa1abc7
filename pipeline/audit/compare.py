"""Where three witnesses differ: partition, offsets, outcome. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.audit.witness import ArchiveWitness, LedgerWitness, LogWitness, PollRecount, Stray
from pipeline.domain.poll import Poll, Status
from pipeline.domain.void import Void

_OPENED, _CLOSED, _FINAL = "poll.opened", "poll.closed", "poll.final"


@dataclass(frozen=True)
class Difference:
    """One thing that the witnesses do not agree on. `partition` None: it is of all of them together."""

    partition: int | None
    what: str

    def __str__(self) -> str:
        return self.what if self.partition is None else f"partition {self.partition}: {self.what}"


@dataclass(frozen=True)
class Audit:
    """Three witnesses of a poll, per partition in the same order, and where they differ."""

    log: Sequence[LogWitness]
    ledgers: Sequence[LedgerWitness]
    archive: Sequence[ArchiveWitness]
    strays: Sequence[Stray]
    differences: Sequence[Difference]

    @property
    def agrees(self) -> bool:
        """Whether all three say the same."""
        return not self.differences

    @property
    def poll(self) -> Poll | None:
        """The poll as the first partition that knows it has it."""
        return next((ledger.poll for ledger in self.ledgers if ledger.poll is not None), None)

    @property
    def voids(self) -> dict[Void, list[int]]:
        """Each void as partitions have it, and which of them. If two senders decided one, it is here in both forms."""
        found: dict[Void, list[int]] = {}
        for ledger in self.ledgers:
            for void in ledger.poll.voids if ledger.poll is not None else ():
                found.setdefault(void, []).append(ledger.partition)
        return found

    @property
    def is_final(self) -> bool:
        """Whether every partition has passed the final marker."""
        return all(ledger.poll is not None and ledger.poll.status is Status.FINAL for ledger in self.ledgers)

    @property
    def records(self) -> int:
        """How many records the ledgers have folded."""
        return sum(ledger.next_offset - ledger.base for ledger in self.ledgers)

    @property
    def in_log(self) -> int:
        """How many of them Kafka still has. What the others were is the word of Redis and ClickHouse alone."""
        return sum(behind - first for first, behind in (log.read for log in self.log))

    @property
    def shortened(self) -> list[int]:
        """Partitions of which Kafka has not all any more that the poll is made of: from its opening on."""
        return [
            ledger.partition
            for log, ledger, archive in zip(self.log, self.ledgers, self.archive, strict=True)
            if log.read[1] != ledger.next_offset
            or log.read[0] > (ledger.base if archive.poll is None else archive.poll.opened_offset)
        ]

    @property
    def counted(self) -> dict[str, int]:
        """By option, what the ledgers have counted."""
        return self._by_option(ledger.totals for ledger in self.ledgers)

    @property
    def recounted(self) -> dict[str, int]:
        """By option, what SQL has counted."""
        return self._by_option(_totals(archive) for archive in self.archive)

    @property
    def struck(self) -> dict[str, int]:
        """By option, what voids in force deduct."""
        return self._by_option(archive.struck for archive in self.archive)

    @property
    def official(self) -> dict[str, int]:
        """By option, the difference."""
        struck = self.struck
        return {option_id: votes - struck[option_id] for option_id, votes in self.counted.items()}

    def _by_option(self, counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
        total: Counter[str] = Counter()
        for count in counts:
            total.update(count)
        return {option.id: total[option.id] for option in self.poll.rules.options} if self.poll else {}


def audit(
    log: Sequence[LogWitness],
    ledgers: Sequence[LedgerWitness],
    archive: Sequence[ArchiveWitness],
    strays: Sequence[Stray],
) -> Audit:
    """Compare."""
    differences = [
        Difference(ledger.partition, what)
        for kafka, ledger, clickhouse in zip(log, ledgers, archive, strict=True)
        for what in (
            *_records(kafka, ledger, clickhouse),
            *_numbers("outcome", ledger.outcomes, clickhouse.outcomes),
            *_poll(kafka, ledger.poll, clickhouse.poll),
            *_numbers("outcome of the poll", ledger.poll_outcomes, clickhouse.poll_outcomes),
            *_numbers("option", ledger.totals, _totals(clickhouse)),
            *_numbers("second", _named(ledger.cells), _named(clickhouse.cells)),
        )
    ]
    differences += [Difference(None, what) for what in (*_same_rules(ledgers), *_same_voids(ledgers), *_strays(strays))]
    return Audit(log, ledgers, archive, strays, differences)


def _records(kafka: LogWitness, ledger: LedgerWitness, clickhouse: ArchiveWitness) -> Iterator[str]:
    cut, expected = ledger.next_offset, ledger.next_offset - ledger.base
    if cut > kafka.end:
        yield f"the ledger has folded {cut} records, Kafka's log ends at {kafka.end}"
    folded = sum(ledger.outcomes.values())
    if folded != expected:
        yield f"the ledger's outcomes add up to {folded}, its offsets {ledger.base} to {cut - 1} are {expected} records"
    if clickhouse.distinct != expected:
        missing = ", ".join(f"{first} to {behind - 1}" for first, behind in clickhouse.gaps) or "none between"
        yield f"ClickHouse has {clickhouse.distinct} of {expected} records before offset {cut}; missing: {missing}"
    if kafka.digest != clickhouse.digest:
        yield f"the bytes of offsets {kafka.read[0]} to {kafka.read[1] - 1} differ between Kafka and ClickHouse"


def _poll(kafka: LogWitness, ledger: Poll | None, found: PollRecount | None) -> Iterator[str]:
    if ledger is None or found is None:
        if (ledger is None) != (found is None):
            yield f"the poll is open for {'ClickHouse' if ledger is None else 'the ledger'} only"
        return
    rules = ledger.rules
    says = {
        "opened_at": (rules.opened_at, found.opened_at),
        "options": ([option.id for option in rules.options], list(found.option_ids)),
        "votes_per_voter": (rules.votes_per_voter, found.votes_per_voter),
        "dedupe_horizon_ms": (rules.dedupe_horizon_ms or 0, found.dedupe_horizon_ms),
        "closed_at": (ledger.closed_at, found.closed_at),
        "final": (ledger.final, found.final_offset is not None),
        "voids in force": (
            sorted(v.decision.void_id for v in ledger.voids if v.in_force),
            sorted(found.voids_in_force),
        ),
    }
    for name, (one, other) in says.items():
        if one != other:
            yield f"{name}: the ledger has {one}, ClickHouse {other}"
    places = {_OPENED: found.opened_offset, _CLOSED: found.closed_offset, _FINAL: found.final_offset}
    for kind, offset in places.items():
        if offset is not None and offset >= kafka.read[0] and offset not in kafka.markers.get(kind, ()):
            yield f"ClickHouse has a {kind} at offset {offset}, Kafka has them at {list(kafka.markers.get(kind, ()))}"


def _numbers(what: str, ledger: Mapping[Any, int], archive: Mapping[Any, int]) -> Iterator[str]:
    for name in sorted({*ledger, *archive}):
        one, other = ledger.get(name, 0), archive.get(name, 0)
        if one != other:
            yield f"{what} {name}: the ledger has {one}, ClickHouse {other}"


def _totals(archive: ArchiveWitness) -> Counter[str]:
    totals: Counter[str] = Counter()
    for cell, votes in archive.cells.items():
        totals[cell.option_id] += votes
    return totals


def _named(cells: Mapping[Any, int]) -> dict[str, int]:
    return {f"{cell.window_start} of {cell.option_id}": votes for cell, votes in cells.items()}


def _same_rules(ledgers: Sequence[LedgerWitness]) -> Iterator[str]:
    polls = {ledger.partition: ledger.poll for ledger in ledgers if ledger.poll is not None}
    rules = [poll.rules for poll in polls.values()]
    others = [partition for partition, poll in polls.items() if poll.rules != rules[0]]
    if others:
        yield f"partitions {others} have other rules than the first: two senders at once?"
    closes = [poll.closed_at for poll in polls.values() if poll.closed_at is not None]  # a close may be on its way
    others = [partition for partition, poll in polls.items() if poll.closed_at not in (None, *closes[:1])]
    if others:
        yield f"partitions {others} are closed at another instant than the first: two senders at once?"


def _same_voids(ledgers: Sequence[LedgerWitness]) -> Iterator[str]:
    """A void that is not in every partition, or not the same decision, strikes votes by one rule here and by another there.

    One that is in force nowhere any more strikes none: its words may differ, and stand in the certificate in each form. So
    what went wrong can be taken back.
    """
    voids = {
        ledger.partition: {void.decision.void_id: void for void in ledger.poll.voids}
        for ledger in ledgers
        if ledger.poll is not None
    }
    for void_id in sorted(set().union(*voids.values())):
        known = {partition: held[void_id] for partition, held in voids.items() if void_id in held}
        in_force = [partition for partition, void in known.items() if void.in_force]
        if not in_force:
            continue
        if len(in_force) < len(known):
            yield f"end of void {void_id} is not in partitions {in_force}: send it again with the same words"
        elif without := [partition for partition in voids if partition not in known]:
            yield f"void {void_id} is not in partitions {without}: send it again with the same words"
        decisions = [void.decision for void in known.values()]
        if others := [partition for partition, void in known.items() if void.decision != decisions[0]]:
            yield (
                f"void {void_id} is another decision in partitions {others} than in the first: two senders at once? Take it "
                "back by `airtally poll reinstate`, and decide it anew by another name"
            )


def _strays(strays: Sequence[Stray]) -> Iterator[str]:
    for stray in strays:
        yield (
            f"{stray.what} {stray.name} counted {stray.counted} times, {stray.allowed} allowed, in partitions "
            f"{list(stray.partitions)}: a publisher chose the partition otherwise than by murmur2 of the voter"
        )
