"""The archive worker on real parts: every record once, byte for byte, whatever happens meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pipeline.archive.connection import connect
from pipeline.archive.migrate import migrate
from pipeline.archive.recount import recount, stored_records
from pipeline.archive.store import ArchiveStore
from pipeline.domain.poll import PollId
from pipeline.local.stack import LocalStack
from pipeline.log.offsets import LogOffsets
from pipeline.log.publisher import Publisher
from pipeline.settings import Settings
from pipeline.show.expectation import Expectation
from pipeline.show.player import Player
from pipeline.show.script import default_script
from tests.workers import eventually, running, start

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

SCRIPT = default_script(records=16_000, seconds=4)


@pytest.fixture
def archive(topic: Settings) -> Settings:
    """A topic, and a database with the tables."""
    assert migrate(topic)
    assert migrate(topic) == []
    return topic


async def play_while(found: Settings, happens: Callable[[], Awaitable[None]]) -> Expectation:
    async with Publisher(found) as publisher:
        playing = asyncio.create_task(Player(SCRIPT, 9, publisher).play())
        await asyncio.sleep(SCRIPT.duration_s / 2)
        await happens()
        return await playing


async def nothing() -> None:
    return None


async def assert_whole(found: Settings, expected: Expectation) -> None:
    """Everything is stored, each record once to readers, and the recount is what was planned."""
    async with LogOffsets(found) as offsets:
        ends = await offsets.end()

    async def all_stored() -> bool:
        return await stored_records(found) >= sum(ends.values())

    await eventually(all_stored, "all stored")
    store = ArchiveStore(found)
    try:
        held = await store.arithmetic(found.topic)
    finally:
        await store.close()
    assert {each.partition: each.distinct for each in held} == ends
    assert all(each.missing == 0 and each.min_offset == 0 for each in held)
    counted = await recount(found, PollId(expected.show_id, expected.poll_id))
    assert counted.totals == expected.totals
    assert {outcome: number for outcome, number in counted.outcomes.items() if number} == {
        outcome: number for outcome, number in expected.outcomes.items() if number
    }
    assert sum(counted.outcomes.values()) == sum(ends.values()) == expected.records


async def test_a_show_is_stored_whole(system: LocalStack, archive: Settings) -> None:
    with running(system, archive, "archive"):
        await assert_whole(archive, await play_while(archive, nothing))


async def test_a_killed_worker_is_followed_by_another(system: LocalStack, archive: Settings) -> None:
    first = await asyncio.to_thread(start, system, archive, "archive", AIRTALLY_INSTANCE_ID="a")

    async def kill() -> None:
        first.kill()

    expected = await play_while(archive, kill)
    with running(system, archive, "archive", AIRTALLY_INSTANCE_ID="a"):
        await assert_whole(archive, expected)


async def test_clickhouse_killed_and_started_again(system: LocalStack, archive: Settings) -> None:
    async def crash() -> None:
        system.children["clickhouse"].kill()
        await asyncio.sleep(1)
        await asyncio.to_thread(system.restart, "clickhouse")

    with running(system, archive, "archive"):
        await assert_whole(archive, await play_while(archive, crash))


async def test_clickhouse_emptied_while_nobody_votes(system: LocalStack, archive: Settings) -> None:
    with running(system, archive, "archive"):
        expected = await play_while(archive, nothing)
        await assert_whole(archive, expected)
        client = connect(archive)
        client.command("TRUNCATE TABLE votes_log")
        client.close()
        await assert_whole(archive, expected)


async def test_bytes_keys_and_headers_are_kept_as_they_are(system: LocalStack, archive: Settings) -> None:
    odd: list[tuple[bytes | None, bytes | None]] = [
        (b"\x00\xff", b"\xff\xfe not JSON"),
        (None, None),
        (b"", b""),
        (b"k", "ünïcödé \0".encode()),
    ]
    async with Publisher(archive) as publisher:
        await publisher.publish_many(odd)

    async def all_stored() -> bool:
        return await stored_records(archive) == len(odd)

    with running(system, archive, "archive"):
        await eventually(all_stored, "all stored")
    client = connect(archive)
    try:
        rows = client.query(
            "SELECT hex(key), key IS NULL, hex(value), value IS NULL, outcome FROM votes_log "
            "JOIN vote_outcomes USING (topic, partition, offset)"
        ).result_rows
    finally:
        client.close()
    found = {
        (None if no_key else bytes.fromhex(key), None if no_value else bytes.fromhex(value))
        for key, no_key, value, no_value, _ in rows
    }
    assert found == set(odd)
    assert {row[4] for row in rows} == {"malformed"}
