"""JSON and event streams of running services, on real parts."""

import asyncio
import re
import signal

import aiohttp
import orjson
import pytest
from redis.asyncio import Redis

from pipeline.clock import now_ms
from pipeline.domain.poll import PollId
from pipeline.domain.result import merge
from pipeline.ledger.reader import open_ledgers
from pipeline.live.http import _OPENAPI
from pipeline.local.stack import LocalStack
from pipeline.log.publisher import Publisher
from pipeline.settings import Settings
from pipeline.show.player import Player
from pipeline.show.script import default_script
from tests.workers import folded, running

from .conftest import GoLive
from .counting import Count

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]


async def test_a_whole_show_ends_on_the_air_as_planned(
    system: LocalStack, topic: Settings, poll_id: PollId, go_live: GoLive
) -> None:
    air, _ = await go_live()
    other, _ = await go_live()
    script = default_script(records=6_000, seconds=4, show_id=poll_id.show_id, poll_id=poll_id.poll_id)
    with running(system, topic, "tally"):
        async with Publisher(topic) as publisher:
            playing = asyncio.create_task(Player(script, 3, publisher).play())
            await air.until(lambda shown: shown["total"] > 0, "the first votes")
            async with air.events() as events:
                got = await events.until(lambda shown: shown["status"] == "final")
            expected = await playing
        await folded(topic)
    totals = [shown["total"] for shown in got]
    assert totals == sorted(totals)
    assert len(got) > 20
    for instance in (air, other):
        final = await instance.until(lambda shown: shown["status"] == "final", "final")
        assert final["total"] == expected.counted
        for option in final["options"]:
            assert option["votes"] == expected.expected_total(option["id"])
    async with open_ledgers(topic) as ledgers:
        result = merge(poll_id, await ledgers.read(poll_id))
    assert result is not None
    _, _, series = await air.get(f"{air.path}/seconds")
    assert sum(map(sum, series["votes"])) == result.total == expected.counted


async def test_a_second_completes_although_nobody_votes(go_live: GoLive, count: Count) -> None:
    await count.open()
    await count.vote("ada", 4)
    air, _ = await go_live()
    first = await air.until(lambda shown: shown["rate"] == 0 and shown["total"] == 4, "quiet")
    later = await air.until(lambda shown: shown["complete_to"] >= first["complete_to"] + 2_000, "two seconds more")
    assert 2_000 <= later["as_of"] - later["complete_to"] < 5_000
    assert later["lag"] == 0
    _, _, series = await air.get(f"{air.path}/seconds")
    assert series["options"] == ["ada", "bo", "cy"]
    assert series["first"] + 1000 * len(series["votes"]) == series["complete_to"]


async def test_an_edge_that_went_quiet_is_told(go_live: GoLive, count: Count) -> None:
    await count.open(opened_at=now_ms() - 30_000)
    count.edge_id, count.at = "edge-2", now_ms() - 20_000
    await count.vote("ada", partition=1)
    count.at = now_ms() - 25_000  # also heard in another partition, earlier
    await count.vote("ada", partition=2)
    count.edge_id, count.at = (
        "edge-1",
        now_ms() + 4_000,
    )  # a broker's clock that is ahead: not quiet while this test runs
    await count.vote("ada")
    air, _ = await go_live()
    before = await air.served()
    status, _, told = await air.get(f"{air.path}/edges")
    assert status == 200
    assert [(edge["id"], edge["quiet"]) for edge in told["edges"]] == [("edge-1", False), ("edge-2", True)]
    assert told["edges"][1]["heard_at"] == count.log[1][-1][0]
    # A repeat is a sign of life too.
    await count.add(1, [(now_ms(), *count.log[1][-1][1:])])
    known = await air.until(lambda shown: shown["outcomes"].get("duplicate") == 1, "the repeat")
    assert known["total"] == before["total"]
    for _ in range(50):
        _, _, told = await air.get(f"{air.path}/edges")
        if not told["edges"][1]["quiet"]:
            break
        await asyncio.sleep(0.1)
    assert [edge["quiet"] for edge in told["edges"]] == [False, False]


async def test_a_known_version_is_not_sent_again(go_live: GoLive, count: Count) -> None:
    await count.open()
    await count.close()
    await count.finalize()
    air, _ = await go_live()
    await air.until(lambda shown: shown["status"] == "final", "final")
    for path in (air.path, f"{air.path}/seconds", "/v1/shows", "/openapi.json", "/pages/overlay.js"):
        status, headers, _ = await air.get(path)
        assert status == 200, path
        assert headers["x-content-type-options"] == "nosniff"
        status, _, content = await air.get(path, **{"If-None-Match": headers["etag"]})
        assert (status, content) == (304, b""), path
        assert (await air.get(path, **{"If-None-Match": '"other"'}))[0] == 200
    status, _, _ = await air.get(**{"If-None-Match": f'"1", W/{(await air.get())[1]["etag"]}'})
    assert status == 304


async def test_a_stream_resumes_after_what_the_reader_has(go_live: GoLive, count: Count) -> None:
    await count.open()
    await count.close(ahead_ms=-1)
    await count.finalize()
    air, _ = await go_live()
    shown = await air.until(lambda shown: shown["status"] == "final", "final")
    async with air.events() as events:
        assert await events.next() == shown
    async with air.events(shown["version"]) as events:
        with pytest.raises(TimeoutError):
            await events.next(timeout_s=1)
    async with air.events(shown["version"] - 1) as events:
        assert await events.next() == shown
    async with air.events(shown["version"] + 3_600_000) as events:  # an id of another system: not waited for
        assert await events.next() == shown


async def test_problems_are_told_as_such(go_live: GoLive, count: Count) -> None:
    await count.open()
    air, _ = await go_live()
    await air.served()
    cases = {
        "/v1/shows/nobody/polls/song": 404,
        "/v1/shows/nobody/polls/song/events": 404,
        "/v1/shows/nobody/polls/song/seconds": 404,
        "/v1/shows/nobody/polls/song/edges": 404,
        "/v1/shows/No!/polls/song": 400,
        "/v1/shows/a%2Ab/polls/song/events": 400,
        f"/v1/shows/{'a' * 64}/polls/song": 400,
        "/overlay/-x/song": 400,
        "/host/x/%3Cscript%3E": 400,
        "/nothing": 404,
        "/pages/../settings.py": 404,
        "/pages/__init__.py": 404,
    }
    for path, expected in cases.items():
        status, headers, problem = await air.get(path)
        assert status == expected, path
        assert headers["content-type"] == "application/problem+json"
        assert problem["status"] == expected
        assert problem["title"]
    async with air.session.post(air.url + air.path) as answer:
        assert answer.status == 405
        assert answer.content_type == "application/problem+json"


async def test_redis_away_and_back(system: LocalStack, go_live: GoLive, count: Count) -> None:
    await count.open()
    await count.vote("ada", 6)
    air, _ = await go_live()
    before = await air.until(lambda shown: shown["total"] == 6, "6 votes")
    async with air.events(before["version"]) as events:
        await asyncio.to_thread(system.children["redis"].kill)
        await asyncio.sleep(0.5)
        status, _, shown = await air.get()
        assert (status, shown["total"]) == (200, 6)  # what is known stays
        status, headers, problem = await air.get("/v1/shows/nobody/polls/song")
        assert (status, problem["status"], headers["retry-after"]) == (503, 503, "1")
        assert (await air.get(f"{air.path}/edges"))[0] == 503  # an old answer would look like quiet edges
        # Redis comes back with nothing at all: neither ledgers nor display.
        await asyncio.to_thread(system.restart, "redis")
        held = await events.until(lambda shown: shown["status"] == "recounting")
        assert {shown["total"] for shown in held} == {6}
        assert (await count.client.hget("live:{}:{}".format(*count.poll_id), "total:ada")) == b"6"
        for partition in range(len(count.log)):
            await count.lose(partition)
            await count.fold_again(partition)
        await count.vote("bo")
        again = await events.until(lambda shown: shown["status"] == "open" and shown["total"] == 7)
        assert again[-1]["version"] > before["version"]


async def test_a_stream_ends_cleanly_with_its_service(go_live: GoLive, count: Count) -> None:
    await count.open()
    air, child = await go_live()
    await air.served()
    async with air.events() as events:
        await events.next()
        process = child.identity.process()
        assert process is not None
        process.send_signal(signal.SIGTERM)
        with pytest.raises(EOFError):
            await events.until(lambda _: False)
    await asyncio.to_thread(child.stop)
    log = await asyncio.to_thread(child.launch.log_file.read_text)
    assert "Traceback" not in log
    assert '"event": "stopped"' in log


async def test_a_reader_that_takes_nothing_holds_nobody_back(go_live: GoLive, count: Count) -> None:
    await count.open()
    air, _ = await go_live()
    await air.served()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, read_bufsize=1024) as lazy:
        asleep = [await lazy.get(f"{air.url}{air.path}/events") for _ in range(20)]
        async with air.events() as events:
            for number in range(1, 21):
                await count.vote("ada")
                await events.until(lambda shown, number=number: shown["total"] == number)  # type: ignore[misc]
        for answer in asleep:
            answer.close()


async def test_a_published_version_is_what_is_shown(go_live: GoLive, count: Count, client: Redis) -> None:
    await count.open()
    air, _ = await go_live()
    await air.served()
    async with client.pubsub() as channel:
        await channel.subscribe("live:{}:{}".format(*count.poll_id))
        await count.vote("bo", 3)
        async with asyncio.timeout(10):
            while True:
                message = await channel.get_message(ignore_subscribe_messages=True, timeout=1)
                if message and orjson.loads(message["data"])["total"] == 3:
                    break


async def test_the_openapi_document_describes_what_is_served(go_live: GoLive, count: Count) -> None:
    await count.open()
    await count.vote("ada")
    air, _ = await go_live()
    snapshot = await air.served()
    document = orjson.loads(_OPENAPI)
    schemas = document["components"]["schemas"]
    assert set(snapshot) == set(schemas["Snapshot"]["properties"]) == set(schemas["Snapshot"]["required"])
    assert set(snapshot["options"][0]) == set(schemas["Option"]["properties"])
    _, _, series = await air.get(f"{air.path}/seconds")
    assert set(series) == set(schemas["Series"]["properties"])
    _, _, edges = await air.get(f"{air.path}/edges")
    assert set(edges) == set(schemas["Edges"]["properties"])
    assert set(edges["edges"][0]) == set(schemas["Edge"]["properties"])
    for path in document["paths"]:
        if not path.endswith("events"):
            filled = path.replace("{show}", count.poll_id.show_id).replace("{poll}", count.poll_id.poll_id)
            assert (await air.get(filled))[0] == 200


def test_references_inside_the_openapi_document_lead_somewhere() -> None:
    document = orjson.loads(_OPENAPI)
    for reference in set(re.findall(r'"#/([^"]+)"', _OPENAPI.decode())):
        found = document
        for part in reference.split("/"):
            found = found[part]
