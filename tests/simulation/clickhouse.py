"""ClickHouse: the table `votes_log`, which takes an insert whole or not at all, and remembers tokens for a while."""

import asyncio
from collections.abc import Mapping
from copy import deepcopy
from itertools import count
from typing import Any, NamedTuple

from pipeline.archive.flush import Flush
from pipeline.archive.store import ArchiveStore, Tokens
from pipeline.errors import UnavailableError

from .wire import Call, Wire


class Row(NamedTuple):
    """A stored record. `writer` is who stored it, if an insert that its sender still waited for."""

    value: bytes | None
    writer: str | None


class SimulatedClickHouse:
    """The server: rows by place in the log, as often as they were inserted."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int], list[Row]] = {}
        self._tokens: set[str] = set()
        self._saved: list[dict[tuple[int, int], list[Row]]] = []
        self.dies_at_next_insert = False
        self.changes = 0

    def over(self, wire: Wire, name: str) -> ArchiveStore:
        """Connect to it as a worker of that name."""
        return StoreOfWorker(self, wire, Tokens(name), name)

    def insert(self, flush: Flush, token: str, writer: str | None) -> None:
        if token in self._tokens:
            return  # the token wins over the rows, whatever has become of them
        self._tokens.add(token)
        if self.dies_at_next_insert:
            self.dies_at_next_insert = False
            raise UnavailableError("killed between the token and the rows")
        self.changes += 1
        for batch in flush.batches:
            for offset, value in enumerate(batch.values, batch.first_offset):
                self.rows.setdefault((batch.partition, offset), []).append(Row(value, writer))

    def holds(self, flush: Flush) -> bool:
        return all(
            (run.partition, offset) in self.rows
            for run in flush.ranges
            for offset in range(run.first_offset, run.next_offset)
        )

    def offsets(self, partition: int) -> list[int]:
        return sorted(offset for held, offset in self.rows if held == partition)

    def whole_to(self, begins: Mapping[int, int]) -> dict[int, int]:
        return {
            partition: next(offset for offset in count(begin) if (partition, offset) not in self.rows)
            for partition, begin in begins.items()
            if self.offsets(partition)
        }

    def save(self) -> None:
        """Keep a copy."""
        self._saved.append(deepcopy(self.rows))

    def roll_back(self, copy: int) -> bool:
        """Go back to a copy. Tokens stay, as they do in ClickHouse. False: there is no copy."""
        if not self._saved:
            return False
        del self._saved[copy % len(self._saved) + 1 :]
        self.rows = deepcopy(self._saved[-1])
        self.changes += 1
        return True

    def wipe(self) -> None:
        self.rows = {}
        self.changes += 1

    def forget_tokens(self) -> None:
        """Let the window of tokens pass."""
        self._tokens.clear()


class StoreOfWorker(ArchiveStore):
    """The table as one worker reaches it."""

    def __init__(self, clickhouse: SimulatedClickHouse, wire: Wire, tokens: Tokens, name: str) -> None:
        self._clickhouse, self._wire, self._tokens, self._name = clickhouse, wire, tokens, name

    async def whole_to(self, _topic: str, begins: Mapping[int, int]) -> dict[int, int]:
        found: dict[int, int] = await self._wire.call(lambda _: self._clickhouse.whole_to(begins))
        return found

    async def holds(self, flush: Flush) -> bool:
        answer: bool = await self._wire.call(lambda _: self._clickhouse.holds(flush))
        return answer

    async def block(self, _flush: Flush) -> Any:
        """Let others go on, as a thread does."""
        await asyncio.sleep(0)

    async def insert(self, flush: Flush, _block: Any = None) -> None:
        token = self._tokens.next(flush)

        def perform(call: Call) -> None:
            self._clickhouse.insert(flush, token, None if call.abandoned else self._name)

        await self._wire.call(perform)
