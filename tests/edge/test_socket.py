"""Viewers who stay connected: votes up, answers and results down, on real parts."""

import asyncio
import os
import signal
import uuid
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest
from redis.asyncio import Redis
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from pipeline.domain.poll import PollId
from pipeline.domain.result import merge
from pipeline.edge.results import Results, channel
from pipeline.ledger.connection import connect
from pipeline.ledger.reader import open_ledgers
from pipeline.live.keys import live_key
from pipeline.local.stack import LocalStack
from pipeline.settings import Settings
from pipeline.waiting import end
from tests.workers import folded

from .viewers import WAIT_S, Edge, ballot, close, edge_running

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


def socket(edge: Edge, query: str = "", **headers: str) -> Any:
    path = "/v1/shows/{}/polls/{}/socket".format(*edge.poll_id)
    return edge.session.ws_connect(edge.url + path + query, headers=headers)


async def told(connection: aiohttp.ClientWebSocketResponse) -> Any:
    return await connection.receive_json(timeout=WAIT_S)


async def test_votes_go_up_and_each_is_answered(edge: Edge) -> None:
    good = [ballot(option_id="ada"), ballot(option_id="bo")]
    async with socket(edge) as connection:
        for each in (*good, good[0]):
            await connection.send_json(each)
        answers = [await told(connection) for _ in range(3)]
        assert {answer["status"] for answer in answers} == {202}
        assert sorted(answer["vote_id"] for answer in answers) == sorted(
            str(each["vote_id"]) for each in (*good, good[0])
        )
        await edge.close_poll()
        await connection.send_json(late := ballot())
        answer = await told(connection)
        assert (answer["status"], answer["vote_id"], answer["type"]) == (
            409, late["vote_id"], "urn:airtally:problem:poll-closed",
        )  # fmt: skip
    await folded(edge.settings)
    async with open_ledgers(edge.settings) as ledgers:
        result = merge(edge.poll_id, await ledgers.read(edge.poll_id))
    assert result is not None
    assert dict(result.totals) == {"ada": 1, "bo": 1}


async def test_what_is_no_vote_is_told_so_and_the_connection_stays(edge: Edge) -> None:
    before = await edge.ends()
    async with socket(edge) as connection:
        for text, status in (
            ("nonsense", 400), ("[]", 422), ("{}", 422), ('{"vote_id":7}', 422), ("[" * 3_000, 422), ('"\\ud800"', 400),
        ):  # fmt: skip
            await connection.send_str(text)
            assert (await told(connection))["status"] == status, text
        await connection.send_json(ballot(option_id="nobody", vote_id=(vote_id := str(uuid.uuid4()))))
        assert (await told(connection))["vote_id"] == vote_id
        assert await edge.ends() == before
        await connection.send_json(ballot())
        assert (await told(connection))["status"] == 202


@pytest.mark.parametrize(("content", "code"), [(b"bytes", 1003), ("x" * 5_000, 1009)])
async def test_what_is_no_message_of_ours_ends_the_connection(edge: Edge, content: bytes | str, code: int) -> None:
    async with socket(edge) as connection:
        await (connection.send_bytes(content) if isinstance(content, bytes) else connection.send_str(content))
        await connection.receive(timeout=WAIT_S)
        assert connection.close_code == code


async def test_pages_of_other_origins_may_not(edge: Edge) -> None:
    async with socket(edge, Origin="https://vote.example") as connection:
        await connection.send_json(ballot())
        assert (await told(connection))["status"] == 202
    for path, status in (("https://evil.example", 403), ("null", 403)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await socket(edge, Origin=path)
        assert refused.value.status == status


async def test_the_running_result_comes_to_those_who_ask(edge: Edge) -> None:
    """What `live` publishes is sent as it is, and whoever comes later gets the newest at once."""
    client = connect(edge.settings)
    name = live_key(edge.poll_id)

    async def publish(number: int) -> None:
        content = orjson.dumps({"version": number, "total": number})
        await client.hset(name, "json", content)
        await client.publish(name, content)

    async with socket(edge, "?result=1") as watching, socket(edge) as voting:
        await publish(1)
        seen = [await told(watching)]
        while seen[-1]["result"]["version"] < 1:
            seen.append(await told(watching))
        await publish(2)
        assert await told(watching) == {"result": {"version": 2, "total": 2}}
        async with socket(edge, "?result=1") as later:
            assert (await told(later))["result"]["version"] == 2
        await publish(1)  # by an instance that is behind
        await publish(3)
        assert (await told(watching))["result"]["version"] == 3
        await watching.send_json(ballot())
        assert (await told(watching))["status"] == 202
        with pytest.raises(TimeoutError):
            await voting.receive(timeout=0.2)
    await client.aclose()


async def test_a_viewer_who_takes_nothing_is_sent_the_newest_later(edge: Edge) -> None:
    client = connect(edge.settings)
    name, filler = live_key(edge.poll_id), "x" * 60_000
    await client.hset(name, "json", orjson.dumps({"version": 0}))
    async with socket(edge, "?result=1") as slow, socket(edge, "?result=1") as quick:
        assert {(await told(each))["result"]["version"] for each in (slow, quick)} == {0}
        transport = slow._response.connection.transport
        transport.pause_reading()
        for number in range(1, 201):  # some 12 MB: more than all buffers between
            await client.publish(name, orjson.dumps({"version": number, "filler": filler}))
            while (await told(quick))["result"]["version"] < number:
                pass
        transport.resume_reading()
        seen = [(await told(slow))["result"]["version"]]
        while seen[-1] != 200:
            seen.append((await told(slow))["result"]["version"])
    assert seen == sorted(seen)
    assert len(seen) < 190
    await client.aclose()


async def test_it_is_told_to_connect_elsewhere_when_its_edge_ends(system: LocalStack, edge: Edge) -> None:
    with edge_running(system, edge.settings) as (url, child):
        other = Edge(url, edge.poll_id, edge.session, edge.settings)
        async with socket(other) as connection:
            await connection.send_json(ballot())
            stopping = asyncio.create_task(asyncio.to_thread(child.stop))
            assert (await told(connection))["status"] == 202
            await connection.receive(timeout=WAIT_S)
            assert connection.close_code == 1001
            await stopping


def test_a_poll_is_where_the_display_says() -> None:
    assert channel(PollId("gala", "best")) == live_key(PollId("gala", "best"))


async def test_a_vote_that_comes_while_the_edge_closes_is_neither_answered_nor_taken(
    system: LocalStack, edge: Edge
) -> None:
    """A viewer's vote crosses the edge's goodbye: it is not in the log, and the viewer sends it to another edge."""
    before = await edge.ends()
    with edge_running(system, edge.settings) as (url, child):
        where = urlsplit(url)
        client = ClientProtocol(
            parse_uri(f"ws://{where.netloc}/v1/shows/{edge.poll_id[0]}/polls/{edge.poll_id[1]}/socket")
        )
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        client.send_request(client.connect())
        writer.write(b"".join(client.data_to_send()))
        frames: list[Frame] = []

        async def read_on() -> bool:
            async with asyncio.timeout(WAIT_S):
                data = await reader.read(65_536)
            client.receive_data(data)
            frames.extend(event for event in client.events_received() if isinstance(event, Frame))
            return bool(data)

        while client.state is State.CONNECTING:
            await read_on()
        os.kill(child.identity.pid, signal.SIGTERM)
        while not frames:
            await read_on()
        writer.write(Frame(Opcode.TEXT, orjson.dumps(ballot())).serialize(mask=True))
        writer.write(b"".join(client.data_to_send()))
        while await read_on():
            pass
        await close(writer)
    assert [frame.opcode for frame in frames] == [Opcode.CLOSE]
    assert await edge.ends() == before


async def test_a_redis_that_lets_nobody_subscribe_costs_results_and_nothing_else(edge_settings: Settings) -> None:
    admin: Any = connect(edge_settings)
    await admin.execute_command("ACL", "SETUSER", "mute", "on", ">secret", "~*", "+@all", "resetchannels")
    muted = Redis.from_url((edge_settings.redis_url or "").replace("redis://", "redis://mute:secret@"))
    results = Results(muted)
    results._watching[channel(PollId("gala", "best"))] = set()
    reading = asyncio.create_task(results.run())
    await asyncio.sleep(0.5)
    assert not reading.done()
    await end([reading])
    await admin.execute_command("ACL", "DELUSER", "mute")
    await muted.aclose()
    await admin.aclose()


class Viewer:
    """Who is shown results."""

    def __init__(self) -> None:
        self.shown: list[bytes] = []

    def show(self, result: bytes) -> None:
        self.shown.append(result)

    async def until_shown(self) -> None:
        async with asyncio.timeout(WAIT_S):
            while not self.shown:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_the_only_viewer_of_a_finished_poll_may_come_again(edge_settings: Settings) -> None:
    client, poll_id = connect(edge_settings), PollId("gala", "long-over")
    await client.hset(live_key(poll_id), "json", '{"version":7}')
    results, first, again, later = Results(client), Viewer(), Viewer(), Viewer()
    reading = asyncio.create_task(results.run())
    results.join(poll_id, first)  # type: ignore[arg-type]
    await first.until_shown()
    results.leave(poll_id, first)  # type: ignore[arg-type]
    results.join(poll_id, again)  # type: ignore[arg-type]
    assert again.shown == first.shown
    results.leave(poll_id, again)  # type: ignore[arg-type]
    async with asyncio.timeout(WAIT_S):
        while results._newest:  # noqa: ASYNC110  # nobody watches: it is let go of
            await asyncio.sleep(0.01)
    results.join(poll_id, later)  # type: ignore[arg-type]
    await later.until_shown()
    assert later.shown == first.shown
    await end([reading])
    await client.delete(live_key(poll_id))
    await client.aclose()
