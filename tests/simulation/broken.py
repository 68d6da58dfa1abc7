"""Parts and workers with one of their promises broken: what the simulation must notice, or it proves nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from pipeline.archive.archiver import Archiver
from pipeline.archive.flush import Flush
from pipeline.archive.store import ArchiveStore, Tokens
from pipeline.domain.fold import Chunk, PartitionState
from pipeline.domain.partition import Answer
from pipeline.ledger.ledger import Ledger, Reply
from pipeline.tally.folder import PartitionFolder

from .archive import ArchiveWorld
from .clickhouse import SimulatedClickHouse, StoreOfWorker
from .redis import LedgerOfWorker, SimulatedRedis
from .tally import TallyWorld
from .wire import Wire
from .world import World


class WithoutFence(SimulatedRedis):
    """Takes a chunk wherever it begins."""

    def apply(self, chunk: Chunk) -> Reply:
        if tally := self.tallies.get(chunk.partition):
            tally.next_offset = chunk.first_offset
        return super().apply(chunk)


class OffsetApart(SimulatedRedis):
    """Takes the effect of a chunk in one call, and moves the offset in the next."""

    def over(self, wire: Wire) -> Ledger:
        return _LedgerInTwoSteps(self, wire)

    def add(self, chunk: Chunk) -> Reply:
        reply = self.apply(chunk)
        if reply.answer is Answer.APPLIED:
            self.tallies[chunk.partition].next_offset = chunk.first_offset
        return reply

    def move(self, chunk: Chunk) -> None:
        self.changes += 1
        if tally := self.tallies.get(chunk.partition):
            tally.next_offset = chunk.next_offset


class _LedgerInTwoSteps(LedgerOfWorker):
    redis: OffsetApart

    async def apply(self, chunk: Chunk) -> Reply:
        reply: Reply = await self.wire.call(lambda _: self.redis.add(chunk))
        if reply.answer is Answer.APPLIED:
            await self.wire.call(lambda _: self.redis.move(chunk))
        return reply


class TrustsWhatWasKept(SimulatedRedis):
    """Lets a worker go on with the state that it had, wherever the ledger is."""

    def over(self, wire: Wire) -> Ledger:
        return _LedgerOfTrusting(self, wire)


class _LedgerOfTrusting(LedgerOfWorker):
    async def load(self, partition: int, kept: PartitionState | None = None) -> PartitionState | None:
        state = await super().load(partition)
        if state is None or kept is None:
            return state
        return msgspec.structs.replace(state, memory=kept.memory)


class NeverHolds(SimulatedClickHouse):
    """Denies what it has: as if the archive never asked before it sends again."""

    def holds(self, _flush: Flush) -> bool:
        return False


class AlwaysHolds(SimulatedClickHouse):
    """Claims what it has not: as if the archive took an insert without an answer for done."""

    def holds(self, _flush: Flush) -> bool:
        return True


class TokenOfContent(SimulatedClickHouse):
    """Is sent the same token for the same rows."""

    def over(self, wire: Wire, name: str) -> ArchiveStore:
        return StoreOfWorker(self, wire, _SameAgain(name), name)


class _SameAgain(Tokens):
    def next(self, flush: Flush) -> str:
        return flush.token


class InPieces(SimulatedClickHouse):
    """Takes the first batch of an insert, and may die before the others."""

    def insert(self, flush: Flush, token: str, writer: str | None) -> None:
        dies, self.dies_at_next_insert = self.dies_at_next_insert, False
        super().insert(Flush(flush.batches[:1]), f"{token}:first", writer)
        self.dies_at_next_insert = dies
        if others := flush.batches[1:]:
            super().insert(Flush(others), f"{token}:others", writer)


async def _nothing(*_: object) -> None:
    """Leave out what the method should do."""


@dataclass(frozen=True)
class Broken:
    """A world with a part that breaks its promise, or workers that leave a method out."""

    what: str
    make: Callable[[int], World]
    left_out: tuple[type, str] | None = None

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Leave the method out while the block runs."""
        if self.left_out is None:
            yield
            return
        kind, name = self.left_out
        whole = getattr(kind, name)
        setattr(kind, name, _nothing)
        try:
            yield
        finally:
            setattr(kind, name, whole)


BROKEN = [
    Broken("a ledger without its fence", lambda seed: TallyWorld(seed, WithoutFence())),
    Broken("an offset apart from its effect", lambda seed: TallyWorld(seed, OffsetApart())),
    Broken("a memory that is not compared", lambda seed: TallyWorld(seed, TrustsWhatWasKept())),
    Broken("a tally that never rewinds", TallyWorld, (PartitionFolder, "_rewind")),
    Broken("a tally that never looks", TallyWorld, (PartitionFolder, "_look")),
    Broken("an archive that never asks", lambda seed: ArchiveWorld(seed, NeverHolds())),
    Broken("an archive that believes", lambda seed: ArchiveWorld(seed, AlwaysHolds())),
    Broken("a token of the content", lambda seed: ArchiveWorld(seed, TokenOfContent())),
    Broken("an insert in pieces", lambda seed: ArchiveWorld(seed, InPieces())),
    Broken("an archive that does not wait for its flush", ArchiveWorld, (Archiver, "_settle")),
    Broken("an archive that never rewinds", ArchiveWorld, (Archiver, "_rewind")),
    Broken("an archive that never looks", ArchiveWorld, (Archiver, "_look")),
]
