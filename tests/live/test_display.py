"""What is on the display: exact, only ever newer, and held while a ledger is folded again. On real parts."""

import asyncio
from typing import Any

import msgspec
import orjson
import pytest
from redis.asyncio import Redis

from pipeline.clock import now_ms
from pipeline.domain.poll import PollId
from pipeline.domain.record import PollClosed, PollOpened, VotesReinstated, VotesVoided
from pipeline.domain.result import merge
from pipeline.errors import RedisMismatchError, UnavailableError
from pipeline.health import Health
from pipeline.ledger.reader import LedgerReader
from pipeline.live.completeness import LogEnd
from pipeline.live.display import Display, Shown
from pipeline.live.merger import Merger
from pipeline.live.reading import Heads, LiveReader
from pipeline.live.snapshot import ShownStatus
from pipeline.settings import Settings

from .counting import OPTIONS, Count

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
    assert second is not None
    # What the first has shown is what the second tells its readers, unless a second has passed meanwhile.
    assert second == first or second.snapshot.second > first.snapshot.second
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


async def test_what_another_instance_has_just_shown_is_not_held(
    client: Redis, topic: Settings, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    await count.open()
    instance, other = merger(client, topic), merger(client, topic)
    heads = instance.ledgers.heads

    async def heads_and_then_a_vote() -> Heads:
        found = await heads()
        await count.vote("ada", 3)
        await look(other)
        return found

    monkeypatch.setattr(instance.ledgers, "heads", heads_and_then_a_vote)
    (shown,) = await instance.look(now_ms())
    assert (shown.snapshot.total, shown.snapshot.status) == (3, ShownStatus.OPEN)
    assert (await on_air(client, count.poll_id))["status"] == "open"


async def test_what_was_shown_before_a_look_failed_is_told_all_the_same(
    client: Redis, topic: Settings, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    await count.open()
    instance = merger(client, topic)
    show, calls = instance.display.show, iter(range(10))

    async def fail_once(*arguments: Any) -> tuple[Shown, bool]:
        if next(calls) == 1:
            raise UnavailableError("the connection has ended")
        return await show(*arguments)

    first, count.poll_id = count.poll_id, PollId(count.poll_id.show_id, "other")
    await count.mark(PollOpened(*count.poll_id, now_ms(), OPTIONS))
    monkeypatch.setattr(instance.display, "show", fail_once)
    with pytest.raises(UnavailableError):
        await instance.look(now_ms())
    assert {each.snapshot.id for each in await instance.look(now_ms())} == {first, count.poll_id}


async def test_versions_grow_also_when_the_display_is_lost_and_the_clock_set_back(
    client: Redis, topic: Settings, count: Count
) -> None:
    await count.open()
    instance = merger(client, topic)
    (before,) = await instance.look(now_ms())
    await client.delete("live:{}:{}".format(*count.poll_id))
    (after,) = await instance.look(now_ms() - 60_000)
    assert after.version > before.version
    assert int((await on_air(client, count.poll_id))["version"]) == after.version


async def test_polls_that_nobody_finalised_cost_no_more_than_final_ones(
    client: Redis, topic: Settings, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    count.at = now_ms() - 200_000
    await count.open(opened_at=count.at)
    names = [count.poll_id, *(PollId(count.poll_id.show_id, f"rehearsal-{number}") for number in range(4))]
    for name in names:
        count.poll_id = name
        await count.mark(PollOpened(*name, count.at, OPTIONS))
        await count.mark(PollClosed(*name, count.at + 10_000))
    instance = merger(client, topic)
    await look(instance)
    reads: list[PollId] = []
    read = instance.ledgers.read

    async def counted(poll_id: PollId, *arguments: Any) -> Any:
        reads.append(poll_id)
        return await read(poll_id, *arguments)

    monkeypatch.setattr(instance.ledgers, "read", counted)
    for _ in range(len(names)):
        await count.add(1, [(now_ms(), b"x", b"not a vote")])  # offsets move
        await instance.look(now_ms())
    assert sorted(reads) == sorted(names)  # one at a time, and each has its turn


async def test_a_poll_that_was_closed_long_ago_is_dated_again_and_made_final_in_time(
    client: Redis, topic: Settings, count: Count
) -> None:
    count.at = now_ms() - 200_000
    await count.open(opened_at=count.at)
    await count.mark(PollClosed(*count.poll_id, count.at + 10_000))
    instance = merger(client, topic)
    (shown,) = await instance.look(now_ms())
    assert shown.snapshot.lag is None  # nobody has asked Kafka yet
    instance.log_end = LogEnd(now_ms(), [len(entries) for entries in count.log])
    (shown,) = await instance.look(now_ms())
    assert (shown.snapshot.lag, shown.snapshot.status) == (0, ShownStatus.CLOSING)
    await count.finalize()
    (shown,) = await instance.look(now_ms())
    assert shown.snapshot.status is ShownStatus.FINAL
