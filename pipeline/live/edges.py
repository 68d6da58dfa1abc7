"""Which edges send votes for a poll, and which of them went quiet. Read when a host asks; nobody else pays for it.

An edge is quiet if none of its votes was appended in the last `QUIET_MS` of *counted* time, while voting was open. Not of the
wall clock: while the count lags, all edges would seem quiet.
"""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from pipeline.domain.poll import PollId, Status
from pipeline.live.completeness import counted_to
from pipeline.live.merger import Merger
from pipeline.live.snapshot import Snapshot

QUIET_MS = 5_000
FRESH_MS = 1_000  # whoever asks again sooner is told the same


class Edge(msgspec.Struct, frozen=True):
    """One edge. Instants are ms since the epoch."""

    id: str
    heard_at: int  # append time of its last vote for this poll, whatever became of it
    quiet: bool


class Edges(msgspec.Struct, frozen=True):
    """The edges that have sent votes for a poll since it opened, by id."""

    show_id: str
    poll_id: str
    as_of: int  # when the ledgers were read
    counted_to: int  # everything that was appended before this is counted
    edges: tuple[Edge, ...]


def judge(poll: Snapshot, heard_at: Mapping[str, int], as_of: int, counted_to_ms: int) -> Edges:
    """Say which edges are quiet. Once voting has ended none is: there is nothing more to send."""
    is_open = poll.phase is not Status.FINAL and (poll.closed_at is None or counted_to_ms < poll.closed_at)
    edges = [Edge(edge, at, is_open and counted_to_ms - at >= QUIET_MS) for edge, at in sorted(heard_at.items())]
    return Edges(poll.show_id, poll.poll_id, as_of, counted_to_ms, tuple(edges))


class EdgeReader:
    """Reads edges from the ledgers, for any number of askers at most once in `FRESH_MS` and poll."""

    def __init__(self, merger: Merger, clock: Callable[[], int]) -> None:
        self._merger, self._clock = merger, clock
        self._told: dict[PollId, tuple[int, bytes]] = {}
        self._reading = asyncio.Lock()

    async def read(self, poll: Snapshot) -> bytes:
        """Give the edges of a poll as JSON.

        Raises:
            UnavailableError: Redis is away.
        """
        async with self._reading:  # who waited for another's reading shares it
            as_of, told = self._told.get(poll.id, (0, b""))
            now = self._clock()
            if not 0 <= now - as_of < FRESH_MS:
                told = msgspec.json.encode(await self._read(poll, now))
                self._told[poll.id] = now, told
            return told

    async def _read(self, poll: Snapshot, now_ms: int) -> Edges:
        # In this order: were the edges read first, those heard meanwhile would seem quiet.
        heads = await self._merger.ledgers.heads()
        heard_at = await self._merger.ledgers.edges(poll.id)
        return judge(poll, heard_at, now_ms, counted_to(heads.positions, self._merger.log_end))
