"""The archive's table in ClickHouse: what it holds, and the insert of a flush.

Exactly once comes from three lines of defence. The next offset of a partition is the first that the table lacks, asked for
at each assignment. A flush is one insert of one block, which ClickHouse takes all or not at all; after an insert without an
answer it is asked whether it has the rows. And a row's place in the log is its key: where the same record was inserted twice,
readers see one.
"""

import asyncio
import itertools
import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.archive.block import COLUMNS, FORMAT, Blocks
from pipeline.archive.connection import connect, translated_errors
from pipeline.archive.flush import Flush
from pipeline.settings import Settings

# One flush, one block: an insert is atomic within a block. A flush is below these limits by its policy, and below them
# ClickHouse neither cuts nor waits for more. Asynchronous inserts would answer before they are on disk, or be mixed.
ONE_BLOCK = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "max_insert_block_size": 16_000_000,
    "min_insert_block_size_rows": 16_000_000,
    "min_insert_block_size_bytes": 4 << 30,
}


@dataclass(frozen=True)
class PartitionArithmetic:
    """What the table holds of a partition. Whole and once: ``rows == distinct == max_offset - min_offset + 1``."""

    partition: int
    rows: int  # as stored: repeats that no merge has removed yet count
    distinct: int
    min_offset: int
    max_offset: int

    @property
    def missing(self) -> int:
        """Offsets between the first and the last that are not there."""
        return self.max_offset - self.min_offset + 1 - self.distinct

    @property
    def repeated(self) -> int:
        """Rows beyond one for each offset; readers never see them."""
        return self.rows - self.distinct


class Tokens:
    """The deduplication tokens of one worker.

    Each insert has a token of its own, so that only a repeat of the very same request (by a proxy, say) is nothing. A
    token for the content would lose rows: ClickHouse writes a token down before the rows, and killed in between would
    answer the next attempt as if they were there; and it remembers tokens over TRUNCATE and a return to a backup.
    """

    def __init__(self, session: str) -> None:
        self._session = session
        self._numbers = itertools.count(1)

    def next(self, flush: Flush) -> str:
        """Give the token for an attempt to insert a flush."""
        return f"{self._session}:{next(self._numbers)}:{flush.token}"


class ArchiveStore:
    """A worker's hand on `votes_log`. Calls may overlap; each runs in a thread.

    Attributes:
        doubts: how often ClickHouse was away; each time it may have come back with less than it had.
    """

    doubts = 0

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None
        self._connecting = threading.Lock()
        self._tokens = Tokens(secrets.token_hex(8))
        self._blocks = Blocks()

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await asyncio.to_thread(client.close)

    async def next_offsets(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Give the offset to go on with, for each of these partitions that the table holds something of.

        Raises:
            UnavailableError: ask again later.
            ConfigurationError: waiting will not help.
        """
        rows = await self._rows(
            "SELECT partition, max(offset) + 1 FROM votes_log "
            "WHERE topic = {topic:String} AND partition IN {partitions:Array(UInt32)} GROUP BY partition",
            {"topic": topic, "partitions": list(partitions)},
        )
        return dict(rows)

    async def whole_to(self, topic: str, begins: Mapping[int, int]) -> dict[int, int]:
        """Give the first offset that is missing, from each partition's `begin` on; of those partitions that have any rows.

        It is ``next_offsets``, but for holes: inserts are not synced to the disk, and a power cut may take away an earlier
        one and leave a later one. A bitmap of offsets costs no more than their maximum.

        Raises:
            UnavailableError: ask again later.
            ConfigurationError: waiting will not help.
        """
        rows = await self._rows(
            "SELECT partition, max(offset) + 1, "
            "groupBitmapIf(offset, offset >= transform(partition, {partitions:Array(UInt32)}, {begins:Array(UInt64)}, 0)) "
            "FROM votes_log WHERE topic = {topic:String} AND partition IN {partitions:Array(UInt32)} GROUP BY partition",
            {"topic": topic, "partitions": list(begins), "begins": list(begins.values())},
        )
        return {
            partition: end
            if held >= end - begins[partition]
            else await self._first_missing(topic, partition, begins[partition], end)
            for partition, end, held in rows
        }

    async def _first_missing(self, topic: str, partition: int, begin: int, end: int) -> int:
        """Search by halves. Each question is about half as many rows as the one before."""
        whole, broken = begin, end  # all before the one is there; something before the other is not
        while broken - whole > 1:
            middle = (whole + broken) // 2
            rows = await self._rows(
                "SELECT groupBitmap(offset) FROM votes_log WHERE topic = {topic:String} AND partition = {partition:UInt32} "
                "AND offset >= {whole:UInt64} AND offset < {middle:UInt64}",
                {"topic": topic, "partition": partition, "whole": whole, "middle": middle},
            )
            if rows[0][0] == middle - whole:
                whole = middle
            else:
                broken = middle
        return whole

    async def holds(self, flush: Flush) -> bool:
        """Tell whether every record of a flush is stored: asked when an insert had no answer.

        Raises:
            UnavailableError: ask again later.
            ConfigurationError: waiting will not help.
        """
        runs = [(run.partition, run.first_offset, run.next_offset) for run in flush.ranges]
        rows = await self._rows(
            "SELECT uniqExact(partition, offset) FROM votes_log WHERE topic = {topic:String} AND arrayExists("
            "run -> partition = run.1 AND offset >= run.2 AND offset < run.3, "
            "{runs:Array(Tuple(UInt32, UInt64, UInt64))})",
            {"topic": flush.topic, "runs": runs},
        )
        return bool(rows[0][0] == flush.rows)

    async def block(self, flush: Flush) -> memoryview:
        """Make what ``insert`` sends of a flush."""
        return await asyncio.to_thread(self._blocks.make, flush)

    async def insert(self, flush: Flush, block: memoryview | None = None) -> None:
        """Insert a flush, as the block that was made of it (if none was, it is now), all or nothing.

        After an error it may have arrived: ask ``holds`` before the next attempt. Without one the block is gone: its memory
        is used for others.

        Raises:
            UnavailableError: it may have arrived or not.
            ConfigurationError: waiting will not help; nothing of it was stored.
        """
        made = await self.block(flush) if block is None else block
        settings = {**ONE_BLOCK, "insert_deduplication_token": self._tokens.next(flush)}

        def insert() -> None:
            with translated_errors():
                # A memoryview: the client would send bytes once more, with the same token, when a connection breaks.
                self._connected().raw_insert("votes_log", COLUMNS, made, settings=settings, fmt=FORMAT)
            self._blocks.give_back(made)

        await asyncio.to_thread(insert)

    async def arithmetic(self, topic: str) -> list[PartitionArithmetic]:
        """Count the rows of each partition of a topic, as they are stored.

        Raises:
            UnavailableError: ask again later.
            ConfigurationError: waiting will not help.
        """
        rows = await self._rows(
            "SELECT partition, count(), uniqExact(offset), min(offset), max(offset) FROM votes_log "
            "WHERE topic = {topic:String} GROUP BY partition ORDER BY partition",
            {"topic": topic},
        )
        return [PartitionArithmetic(*row) for row in rows]

    async def _rows(self, sql: str, parameters: dict[str, Any]) -> list[Any]:
        def query() -> list[Any]:
            with translated_errors():
                return list(self._connected().query(sql, parameters=parameters).result_rows)

        return await asyncio.to_thread(query)

    def _connected(self) -> Any:
        """The client, made at the first call, so that a ClickHouse that is away is waited for in one place."""
        with self._connecting:
            if self._client is None:
                self._client = connect(self._settings)
            return self._client
