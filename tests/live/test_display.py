"""What is on the display: exact, only ever newer, and held while a ledger is folded again. On real parts."""

import asyncio
from typing import Any

import msgspec
import orjson
import pytest
from redis.asyncio import Redis

from pipeline.clock import now_ms
from pipeline.domain.poll import PollId
from pipeline.domain.record import VotesReinstated, VotesVoided
from pipeline.domain.result import merge
from pipeline.errors import RedisMismatchError
from pipeline.health import Health
from pipeline.ledger.reader import LedgerReader
from pipeline.live.display import Display, Shown
from pipeline.live.merger import Merger
from pipeline.live.reading import LiveReader
from pipeline.live.snapshot import ShownStatus
from pipeline.settings import Settings

from .counting import Count

pytestmark = [pytest.mark.real, pytest.mark.timeout(30)]


def merger(client: Redis, found: Settings) -> Merger:
    reader = LiveReader(client, found.topic, found.partitions)
    return Merger(reader, Display(client, found.topic, found.partitions), Health("test"), found.topic)


async def look(instance: Merger) -> Shown | None:
    """Look until nothing is new; give the last version."""
    last = None
    for _ in range(3):
        for shown in await instance.look(now_ms()):
            last = shown
    return last


async def on_air(client: Redis, poll_id: PollId) -> dict[str, str]:
    stored: dict[Any, Any] = await client.hgetall("live:{}:{}".format(*poll_id))
    return {name.decode(): value.decode() for name, value in stored.items()}


async def test_the_key_is_the_merge_of_the_ledgers(client: Redis, topic: Settings, count: Count) -> None:
    await count.open()
    for partition, number in enumerate((7, 0, 3, 11)):
        await count.vote("ada", number, partition) if number else None
        await count.vote("bo", 2, partition)
    instance = merger(client, topic)
    shown = await look(instance)
    assert shown is not None

    stored = await on_air(client, count.poll_id)
    ledgers = LedgerReader(client, topic.topic, range(topic.partitions))
    result = merge(count.poll_id, await ledgers.read(count.poll_id))
    assert result is not None
    assert {option: int(stored[f"total:{option}"]) for option in ("ada", "bo", "cy")} == dict(result.totals)
    assert int(stored["total"]) == result.total == 29
    assert stored["next_offsets"] == " ".join(str(head.next_offset) for head in await ledgers.heads())
    assert stored["json"].encode() == shown.encoded
    assert orjson.loads(stored["json"])["version"] == int(stored["version"]) == shown.version
    # The negative control: one vote more, and nobody has looked yet.
    await count.vote("cy")
    assert int((await on_air(client, count.poll_id))["total:cy"]) == 0
    await look(instance)
    assert int((await on_air(client, count.poll_id))["total:cy"]) == 1


async def test_a_display_of_another_number_of_partitions_is_not_ours(
    client: Redis, topic: Settings, count: Count
) -> None:
    await count.open()
    assert await look(merger(client, topic)) is not None
    other = Display(client, topic.topic, topic.partitions + 1)
    with pytest.raises(RedisMismatchError, match=f"of {topic.partitions} partitions"):
        await other.load(count.poll_id)


async def test_a_void_is_said_and_changes_no_number(client: Redis, topic: Settings, count: Count) -> None:
    await count.open()
    await count.vote("ada", 5)
    instance = merger(client, topic)
    await look(instance)
    before = await on_air(client, count.poll_id)
    words = (*count.poll_id, "leak", "its token was published", "A. Lovelace")
    await count.mark(VotesVoided(*words, channels=("web",)))
    await look(instance)
    struck = await on_air(client, count.poll_id)
    assert (before["voids"], struck["voids"]) == ("0", "1")
    assert (before["total:ada"], struck["total:ada"], struck["total"]) == ("5", "5", "5")
    await count.mark(VotesReinstated(*words))
    await look(instance)
    assert (await on_air(client, count.poll_id))["voids"] == "0"


async def test_nothing_is_published_when_nothing_has_changed(client: Redis, topic: Settings, count: Count) -> None:
    await count.open()
    await count.vote("ada")
    instance = merger(client, topic)
    await look(instance)
    before = await on_air(client, count.poll_id)
    await count.add(1, [(now_ms(), b"x", b"not a vote")])  # offsets move, the poll does not
    assert await instance.look(now_ms()) == []
    assert await on_air(client, count.poll_id) == before


async def test_a_stale_instance_cannot_show_an_older_number(client: Redis, topic: Settings, count: Count) -> None:
    await count.open()
    await count.vote("ada", 5)
    stale, fresh = merger(client, topic), merger(client, topic)
    old = await look(stale)
    await count.vote("ada", 4, partition=1)
    new = await look(fresh)
    assert old is not None
    assert new is not None
    # What the stale one read long ago, shown now: it learns what is on the air instead. Its clock is of no use to it.
    wanted = msgspec.structs.replace(old.snapshot, as_of=now_ms() + 60_000, lag=7)
    told, accepted = await stale.display.show(wanted, None, now_ms() + 60_000)
    assert (told, accepted) == (new, False)
    assert (await on_air(client, count.poll_id))["total"] == "9"
    # Ahead in one partition and behind in another is not newer either.
    mixed = msgspec.structs.replace(wanted, next_offsets=(10**6, *old.snapshot.next_offsets[1:]))
    assert (await stale.display.show(mixed, None, now_ms()))[1] is False
    # The control: from the same place as what is shown, the same instance may speak.
    assert (await stale.display.show(msgspec.structs.replace(new.snapshot, lag=7), None, now_ms()))[1] is True


async def test_two_instances_do_not_say_everything_twice(client: Redis, topic: Settings, count: Count) -> None:
    await count.open()
    await count.vote("ada", 5)
    one, two = merger(client, topic), merger(client, topic)
    first = await look(one)
    second = await look(two)
    assert first is not None
    assert second is None or second.snapshot.second > first.snapshot.second  # unless a second has passed meanwhile
    assert (await on_air(client, count.poll_id))["total"] == "5"


async def test_numbers_are_held_while_a_ledger_is_folded_again(client: Redis, topic: Settings, count: Count) -> None:
    await count.open()
    for partition in range(topic.partitions):
        await count.vote("ada", 10, partition)
    instance, other = merger(client, topic), merger(client, topic)
    await look(instance)
    await look(other)
    await count.lose(2)
    await look(instance)
    await count.fold_again(2, entries=4)
    await look(other)
    stored = await on_air(client, count.poll_id)
    assert (stored["status"], stored["phase"], stored["total:ada"]) == ("recounting", "open", "40")
    await count.fold_again(2)
    await count.vote("bo", partition=2)
    await look(other)
    stored = await on_air(client, count.poll_id)
    assert (stored["status"], stored["total:ada"], stored["total:bo"]) == ("open", "40", "1")
    # The instance that had seen the loss only is of no harm.
    await look(instance)
    assert (await on_air(client, count.poll_id))["status"] == "open"


async def test_a_wiped_redis_shows_the_last_numbers_again(client: Redis, topic: Settings, count: Count) -> None:
    await count.open()
    for partition in range(topic.partitions):
        await count.vote("ada", 10, partition)
    instance = merger(client, topic)
    before = await look(instance)
    assert before is not None
    await client.delete("live:{}:{}".format(*count.poll_id))
    for partition in range(topic.partitions):
        await count.lose(partition)
    await count.fold_again(0, entries=5)
    # A newcomer knows nothing better than what is counted so far; whoever remembers corrects it.
    newcomer = merger(client, topic)
    await look(newcomer)
    assert (await on_air(client, count.poll_id))["total:ada"] == "4"
    await asyncio.sleep(0)
    instance._checked_at = 0
    after = await look(instance)
    stored = await on_air(client, count.poll_id)
    assert (stored["status"], stored["total:ada"]) == ("recounting", "40")
    assert after is not None
    assert after.version > before.version
    await count.fold_again(0)
    for partition in range(1, topic.partitions):
        await count.fold_again(partition)
    await look(newcomer)
    stored = await on_air(client, count.poll_id)
    assert (stored["status"], stored["total:ada"]) == ("open", "40")


async def test_a_lost_display_is_shown_again(client: Redis, topic: Settings, count: Count) -> None:
    await count.open()
    await count.vote("ada", 3)
    instance = merger(client, topic)
    await look(instance)
    await client.delete("live:{}:{}".format(*count.poll_id))
    instance._checked_at = 0
    await look(instance)
    stored = await on_air(client, count.poll_id)
    assert (stored["total"], orjson.loads(stored["seconds"])["show_id"]) == ("3", count.poll_id.show_id)


async def test_a_final_poll_is_final_when_it_is_everywhere(client: Redis, topic: Settings, count: Count) -> None:
    await count.open(opened_at=now_ms() - 3_000)
    await count.vote("ada", 3)
    instance = merger(client, topic)
    await look(instance)
    await count.close()
    shown = await look(instance)
    assert shown is not None
    assert shown.snapshot.status is ShownStatus.CLOSING
    await count.finalize()
    shown = await look(instance)
    assert shown is not None
    assert shown.snapshot.status is ShownStatus.FINAL
    assert shown.snapshot.complete_to >= (shown.snapshot.closed_at or 0)
    assert shown.snapshot.rate == 0  # whatever the last second had that was settled before
    series = orjson.loads((await on_air(client, count.poll_id))["seconds"])
    assert sum(map(sum, series["votes"])) == 3  # complete: the series and the total agree


@pytest.mark.parametrize("kind", ["string", "topic"])
async def test_a_foreign_key_is_left_alone(kind: str, client: Redis, topic: Settings, count: Count) -> None:
    key = "live:{}:{}".format(*count.poll_id)
    await count.open()
    if kind == "string":
        await client.set(key, "mine")
    else:
        await client.hset(key, mapping={"format": 1, "topic": "votes-of-others", "version": 1, "json": "{}"})
    instance = merger(client, topic)
    assert await look(instance) is None
    instance._checked_at = 0
    await look(instance)
    assert key in instance.health.problems["display"]
    with pytest.raises(RedisMismatchError, match="delete the key"):
        await instance.display.load(count.poll_id)
    await client.delete(key)
    instance._checked_at = 0
    assert await look(instance) is not None
    assert "display" not in instance.health.problems
