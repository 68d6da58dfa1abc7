"""What Redis and ClickHouse say of a show, held against what is true."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.archive.recount import recount
from pipeline.archive.store import ArchiveStore
from pipeline.domain.poll import PollId
from pipeline.domain.result import merge
from pipeline.errors import UnavailableError
from pipeline.ledger.reader import open_ledgers
from pipeline.settings import Settings
from pipeline.show.expectation import Expectation

SHOWN = 12


@dataclass
class Finding:
    """What is wrong with the counts, if anything."""

    lost: int = 0  # records that a view does not count as it must
    twice: int = 0  # records that it counts more often than it must
    stored_twice: int = 0  # rows beyond one for each record; readers never see them
    lines: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.twice or self.lines)

    def hold(self, view: str, expected: Expectation, says: Expectation) -> None:
        """Compare a view with the oracle: options, outcomes, seconds."""
        pairs: list[tuple[Mapping[Any, int], Mapping[Any, int]]] = [
            (expected.outcomes, says.outcomes),
            (expected.cells, says.cells),
        ]
        self.lost += max(_deficit(ours, theirs) for ours, theirs in pairs)
        self.twice += max(_deficit(theirs, ours) for ours, theirs in pairs)
        lines = expected.differences(says)
        self.lines += [f"{view}: {line}" for line in lines[:SHOWN]]
        if len(lines) > SHOWN:
            self.lines.append(f"{view}: and {len(lines) - SHOWN} more")


async def check_ledgers(found: Settings, expected: Expectation, finding: Finding) -> None:
    """Compare Redis with the oracle, and the ledgers with themselves.

    Raises:
        UnavailableError: Redis does not answer.
    """
    poll = PollId(expected.show_id, expected.poll_id)
    async with open_ledgers(found) as reader:
        heads, result = await reader.heads(), merge(poll, await reader.read(poll))
    says = Expectation(*poll)
    for head in heads:
        says.outcomes.update(head.outcomes)
        folded = head.base + sum(head.outcomes.values())
        if folded != head.next_offset:
            finding.lines.append(f"Redis: partition {head.partition} has {folded} outcomes before {head.next_offset}")
    if result is None:
        finding.lines.append(f"Redis: does not know the poll {'/'.join(poll)}")
    else:
        says.poll_outcomes.update(result.outcomes)
        says.cells.update({(cell.window_start, cell.option_id): votes for cell, votes in result.windows.items()})
        totals = {option: votes for option, votes in result.totals.items() if votes}
        if totals != says.totals:
            finding.lines.append(f"Redis: totals {totals} are not the sums of the seconds {says.totals}")
        if result.conflicts:
            finding.lines.append(f"Redis: partitions {result.conflicts} have other markers")
    finding.hold("Redis", expected, says)


async def check_archive(found: Settings, expected: Expectation, finding: Finding) -> None:
    """Compare ClickHouse's recount with the oracle, and its rows with the offsets they must have.

    Raises:
        UnavailableError: ClickHouse does not answer.
    """
    poll = PollId(expected.show_id, expected.poll_id)
    counted = await recount(found, poll)
    cells = Counter({(cell.window_start, cell.option_id): votes for cell, votes in counted.cells.items()})
    says = Expectation(*poll, Counter(counted.outcomes), Counter(counted.poll_outcomes), cells)
    finding.hold("ClickHouse", expected, says)
    store = ArchiveStore(found)
    try:
        held = await store.arithmetic(found.topic)
    finally:
        await store.close()
    for each in held:
        finding.stored_twice += each.repeated
        if each.missing or each.min_offset:
            finding.lines.append(
                f"ClickHouse: partition {each.partition} lacks {each.missing + each.min_offset} offsets before the last"
            )


class Views:
    """How far Redis and ClickHouse have come. They are asked often, while anything may be away."""

    def __init__(self, found: Settings) -> None:
        self._found = found
        self._store = ArchiveStore(found)

    async def have(self, ends: Mapping[int, int]) -> bool:
        """Tell whether both hold everything before these offsets."""
        try:
            async with asyncio.timeout(5):
                ledgers, archive = await asyncio.gather(self._ledgers(), self._archive())
        except (UnavailableError, TimeoutError):
            return False
        return all(ledgers.get(p, 0) >= end and archive.get(p, 0) >= end for p, end in ends.items() if end)

    async def progress(self) -> str:
        """Say it for a report."""
        try:
            async with asyncio.timeout(5):
                return f"Redis at {await self._ledgers()}, ClickHouse at {await self._archive()}"
        except (UnavailableError, TimeoutError) as error:
            return f"unknown: {error}"

    async def close(self) -> None:
        """Let go of connections."""
        await self._store.close()

    async def _ledgers(self) -> dict[int, int]:
        async with open_ledgers(self._found) as reader:
            return {head.partition: head.next_offset for head in await reader.heads()}

    async def _archive(self) -> dict[int, int]:
        """Count what is there: a highest offset would not tell of holes."""
        return {
            each.partition: each.distinct if each.min_offset == 0 else 0
            for each in await self._store.arithmetic(self._found.topic)
        }


def _deficit(ours: Mapping[Any, int], theirs: Mapping[Any, int]) -> int:
    return sum(max(0, number - theirs.get(name, 0)) for name, number in ours.items())
