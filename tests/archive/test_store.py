"""The archive's table on a real ClickHouse: bytes, positions, repeats, and what errors mean."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pipeline.archive.block import block_of
from pipeline.archive.connection import connect
from pipeline.archive.flush import Flush
from pipeline.archive.migrate import migrate
from pipeline.archive.store import ArchiveStore, PartitionArithmetic
from pipeline.domain.batch import RecordBatch
from pipeline.errors import SchemaMismatchError, SettingError, UnavailableError
from pipeline.local.ports import free_port
from pipeline.settings import Settings

pytestmark = pytest.mark.real

ANY_BYTES = bytes(range(256))


@pytest.fixture
def database(found: Settings) -> Settings:
    migrate(found)
    return found


@pytest.fixture
async def store(database: Settings) -> AsyncIterator[ArchiveStore]:
    store = ArchiveStore(database)
    yield store
    await store.close()


def batch(partition: int, first_offset: int, records: int, value: bytes = b"{}") -> RecordBatch:
    times = list(range(1_767_297_600_000, 1_767_297_600_000 + records))
    return RecordBatch.of(
        "votes", partition, first_offset, times, [b"ann"] * records, [value] * records, [()] * records
    )


def query(settings: Settings, sql: str) -> list[Any]:
    client = connect(settings)
    try:
        return list(client.query(sql, query_formats={"String": "bytes"}).result_rows)
    finally:
        client.close()


async def test_every_byte_comes_back(store: ArchiveStore, database: Settings) -> None:
    times = [1, 1_767_297_600_123, 1_767_297_600_000]
    keys, values = [None, ANY_BYTES, b""], [ANY_BYTES, None, b""]
    headers = [(), (("trace", ANY_BYTES), ("", None)), (("trace", b""), ("trace", b"2"))]
    await store.insert(Flush([RecordBatch.of("votes", 4_000_000_000, 1 << 62, times, keys, values, headers)]))
    rows = query(
        database,
        "SELECT partition, offset, toUnixTimestamp64Milli(append_time), key, value, headers FROM votes_log ORDER BY offset",
    )
    assert [row[:5] for row in rows] == [
        (4_000_000_000, (1 << 62) + number, times[number], keys[number], values[number]) for number in range(3)
    ]
    found = [[(each["name"], each["value"]) for each in row[5]] for row in rows]
    assert found == [[(name.encode(), value) for name, value in each] for each in headers]


async def test_positions_are_what_the_table_holds(store: ArchiveStore) -> None:
    assert await store.next_offsets("votes", [0, 1, 2]) == {}
    await store.insert(Flush([batch(0, 0, 5), batch(2, 40, 2)]))
    assert await store.next_offsets("votes", [0, 1, 2]) == {0: 5, 2: 42}
    assert await store.next_offsets("votes", [1, 2]) == {2: 42}
    assert await store.next_offsets("other", [0, 1, 2]) == {}


async def test_what_is_whole_ends_where_something_is_missing(store: ArchiveStore) -> None:
    assert await store.whole_to("votes", {0: 0}) == {}
    await store.insert(Flush([batch(0, 10, 5), batch(1, 0, 3)]))
    assert await store.whole_to("votes", {0: 10, 1: 0}) == {0: 15, 1: 3}
    assert await store.whole_to("votes", {0: 0}) == {0: 0}
    await store.insert(Flush([batch(0, 17, 3)]))
    await store.insert(Flush([batch(0, 12, 3)]))  # repeats do not make up for what is missing
    assert await store.whole_to("votes", {0: 12, 1: 1}) == {0: 15, 1: 3}
    await store.insert(Flush([batch(0, 15, 2)]))
    assert await store.whole_to("votes", {0: 10}) == {0: 20}


async def test_a_flush_is_one_part_however_large(store: ArchiveStore, database: Settings) -> None:
    """ClickHouse numbers the blocks of a table, and a part tells whose rows it has: one block was an atomic insert."""
    value = b'{"note":"' + b"x" * 500 + b'"}'
    flush = Flush([batch(partition, first, 25_000, value) for partition in range(6) for first in (0, 25_000)])
    await store.insert(flush)
    rows = query(
        database,
        "SELECT max(max_block_number) - min(min_block_number) + 1, sum(rows) FROM system.parts "
        "WHERE active AND database = currentDatabase() AND table = 'votes_log'",
    )
    assert rows == [(1, 300_000)]


async def test_holes_and_repeats_are_visible(store: ArchiveStore) -> None:
    await store.insert(Flush([batch(0, 10, 5), batch(1, 0, 3)]))
    await store.insert(Flush([batch(0, 17, 3)]))
    await store.insert(Flush([batch(1, 2, 3)]))
    hole, repeat = await store.arithmetic("votes")
    assert (hole.distinct, hole.min_offset, hole.max_offset, hole.missing, hole.repeated) == (8, 10, 19, 2, 0)
    assert (repeat.distinct, repeat.missing) == (5, 0)
    assert repeat.repeated in (0, 1), "a merge may have removed it by now"
    assert await store.arithmetic("other") == []
    assert PartitionArithmetic(0, 5, 5, 0, 4).missing == 0


@pytest.mark.parametrize(
    ("held", "begin", "whole_to"),
    [
        ([(0, 100)], 0, 100),
        ([(0, 40), (41, 100)], 0, 40),
        ([(0, 1), (99, 100)], 0, 1),
        ([(7, 100)], 0, 0),  # the first rows are gone
        ([(7, 100)], 7, 100),  # the log has none before those either
        ([(0, 40), (41, 100)], 50, 100),  # what lies before the log's begin cannot be mended
        ([(0, 60), (30, 60), (70, 100), (70, 100)], 0, 60),  # repeats do not hide a hole
        ([(0, 30)], 50, 30),  # ... and this archive cannot go on: the log has lost what it needs
    ],
)
async def test_the_next_offset_is_the_first_that_is_missing(
    store: ArchiveStore, held: list[tuple[int, int]], begin: int, whole_to: int
) -> None:
    for first, end in held:
        await store.insert(Flush([batch(3, first, end - first), batch(4, 0, 1)]))
    assert await store.whole_to("votes", {3: begin, 5: 0}) == {3: whole_to}


async def test_a_flush_is_found_whole_or_not(store: ArchiveStore) -> None:
    flush = Flush([batch(0, 0, 5), batch(1, 7, 5)])
    assert not await store.holds(flush)
    await store.insert(Flush([batch(0, 0, 5), batch(1, 7, 4)]))
    assert not await store.holds(flush)
    await store.insert(Flush([batch(1, 11, 1)]))
    assert await store.holds(flush)


async def test_two_workers_storing_the_same_are_one_to_readers(store: ArchiveStore, database: Settings) -> None:
    other = ArchiveStore(database)
    await asyncio.gather(
        store.insert(Flush([batch(0, 0, 100), batch(1, 0, 50)])),
        other.insert(Flush([batch(0, 50, 100), batch(1, 0, 50)])),
    )
    await other.close()
    for view in ("votes", "vote_outcomes"):
        assert query(database, f"SELECT count(), uniqExact(partition, offset) FROM {view}") == [(200, 200)]


@pytest.mark.parametrize(("second_token", "rows"), [("a", 5), ("b", 10)])
async def test_a_repeated_token_makes_the_insert_nothing(database: Settings, second_token: str, rows: int) -> None:
    """What a proxy does that repeats a request. With another token the rows are there twice, until a merge."""
    client = connect(database)
    client.command("SYSTEM STOP MERGES votes_log")
    for token in ("a", second_token):
        client.insert_arrow(
            "votes_log", block_of(Flush([batch(0, 0, 5)])), settings={"insert_deduplication_token": token}
        )
    client.close()
    assert query(database, "SELECT count() FROM votes_log") == [(rows,)]
    assert query(database, "SELECT count() FROM votes") == [(5,)]


async def test_what_is_missing_is_named_and_what_is_away_is_waited_for(found: Settings) -> None:
    store = ArchiveStore(found)  # nothing was made in it
    with pytest.raises(SchemaMismatchError, match="airtally init"):
        await store.insert(Flush([batch(0, 0, 1)]))
    await store.close()
    away = ArchiveStore(found.model_copy(update={"clickhouse_url": f"http://127.0.0.1:{free_port()}"}))
    with pytest.raises(UnavailableError):
        await away.next_offsets("votes", [0])
    nowhere = ArchiveStore(found.model_copy(update={"clickhouse_url": None}))
    with pytest.raises(SettingError, match="AIRTALLY_CLICKHOUSE_URL"):
        await nowhere.insert(Flush([batch(0, 0, 1)]))
