"""Votes over HTTP, on real parts: what is acknowledged is counted once, and what is refused is told why."""

import asyncio
import re
import time
import uuid
from pathlib import Path

import orjson
import pytest
from jsonschema import Draft202012Validator

import pipeline.edge as edge_package
from pipeline.domain.outcome import Outcome
from pipeline.edge.ballots import ForwardedBallot, PostedBallot
from pipeline.edge.tokens import REVOKED_KEY, Tokens
from pipeline.ledger.connection import connect
from pipeline.local.ports import free_port
from pipeline.local.stack import LocalStack
from tests.workers import folded, found_in_redis

from .test_bad_input import BODIES, REQUESTS
from .viewers import TOKEN_KEYS, Edge, ballot, edge_running

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


def bearer(keys: str = TOKEN_KEYS, edge_id: str = "front-1", days: float = 1) -> str:
    token, _ = Tokens(dict(each.split(":") for each in keys.split(","))).mint(edge_id, days)
    return f"Bearer {token}"


async def test_what_is_acknowledged_is_counted_once(edge: Edge) -> None:
    voters = [f"viewer {number}" for number in range(40)]
    ballots = [ballot(voter=voter, option_id=("ada", "bo")[number % 2]) for number, voter in enumerate(voters)]
    answers = await asyncio.gather(*[edge.post(each) for each in (*ballots, *ballots[:10])])
    assert {(status, content["accepted"]) for status, content, _ in answers} == {(202, 1)}
    await folded(edge.settings)
    says = await found_in_redis(edge.settings, edge.poll_id)
    assert dict(says.totals) == {"ada": 20, "bo": 20}
    assert says.poll_outcomes[Outcome.DUPLICATE] == 10


async def test_an_edge_in_front_sends_many_at_once(edge: Edge) -> None:
    ballots = [ballot(channel="app") for _ in range(500)]
    status, content, _ = await edge.post(ballots, Authorization=bearer())
    assert (status, content) == (202, {"accepted": 500})
    assert (await edge.post(ballots[:7], Authorization=bearer()))[0] == 202
    await folded(edge.settings)
    says = await found_in_redis(edge.settings, edge.poll_id)
    assert (sum(says.totals.values()), says.poll_outcomes[Outcome.DUPLICATE]) == (500, 7)


async def test_of_many_all_are_taken_or_none(edge: Edge) -> None:
    before = await edge.ends()
    ballots = [ballot(), ballot(option_id="nobody"), ballot(), ballot(cast_at=1)]
    status, content, _ = await edge.post(ballots, Authorization=bearer())
    assert status == 422
    assert [(each["index"], each["vote_id"]) for each in content["votes"]] == [
        (1, ballots[1]["vote_id"]),
        (3, ballots[3]["vote_id"]),
    ]
    assert (await edge.post([ballot()] * 501, Authorization=bearer()))[0] == 422
    assert (await edge.post([], Authorization=bearer()))[0] == 422
    assert await edge.ends() == before


async def test_a_vote_outside_its_poll_is_told_so_but_a_retry_of_one_inside_is_not(edge: Edge) -> None:
    first = ballot()
    assert (await edge.post(first))[0] == 202
    closed_at = await edge.close_poll()
    before = await edge.ends()
    status, content, _ = await edge.post(ballot())
    assert (status, content["type"], content["closed_at"]) == (409, "urn:airtally:problem:poll-closed", closed_at)
    assert (await edge.post(first))[0] == 202
    assert (await edge.post({**first, "voter": "somebody else"}))[0] == 409
    assert (await edge.post(ballot(), "/v1/shows/gala/polls/nothing/votes"))[0] == 404
    assert await edge.ends() == before


async def test_an_announced_end_is_told_when_it_has_come(edge: Edge) -> None:
    closing = asyncio.create_task(edge.close_poll(in_ms=3000))
    await asyncio.sleep(1)
    status, told, _ = await edge.post(ballot())
    closed_at = await closing
    assert status == 202 or told["closed_at"] == closed_at  # on a slow machine the end may have come
    _, content, _ = await edge.post(ballot())
    assert content["closed_at"] == closed_at


async def test_tokens_expire_are_revoked_and_outlive_the_change_of_a_key(edge: Edge) -> None:
    new, old = TOKEN_KEYS.split(",")
    assert (await edge.post([ballot()], Authorization=bearer(old)))[0] == 202
    assert (await edge.post([ballot()], Authorization=bearer(new)))[0] == 202
    other_key = "new:" + 32 * "x"
    refused = [bearer(other_key), bearer("third:" + 32 * "x"), bearer(days=-1), "Bearer nonsense", "Basic YTpi"]
    for authorization in refused:
        status, _, headers = await edge.post([ballot()], Authorization=authorization)
        assert status == 401, authorization
        assert headers["www-authenticate"].startswith("Bearer")
        assert headers["content-type"] == "application/problem+json"
    assert (await edge.post([ballot()]))[0] == 401
    good = bearer(edge_id="front-2")
    assert (await edge.post([ballot()], Authorization=good))[0] == 202
    client = connect(edge.settings)
    await client.sadd(REVOKED_KEY, "front-2")
    await edge.until(401, [ballot()], edge.path, Authorization=good)
    assert (await edge.post([ballot()], Authorization=bearer()))[0] == 202
    await client.aclose()


async def test_a_voter_has_a_rate(edge: Edge) -> None:
    voter = f"impatient {uuid.uuid4()}"
    began = time.monotonic()
    answers = await asyncio.gather(*[edge.post(ballot(voter=voter)) for _ in range(60)])
    refused = [(content, headers) for status, content, headers in answers if status == 429]
    assert -1 <= 60 - len(refused) - 10 <= time.monotonic() - began + 1  # ten at once, then one a second
    content, headers = refused[-1]
    assert content["type"] == "urn:airtally:problem:too-many-votes"
    assert 0 < content["retry_after_ms"] <= 2_000
    assert int(headers["retry-after"]) in {1, 2}
    assert (await edge.post(ballot()))[0] == 202


async def test_who_would_rather_speak_another_protocol_or_to_a_proxy_is_served(edge: Edge) -> None:
    before = sum((await edge.ends()).values())
    for target, more in (
        (edge.path, b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA\r\n"),
        (f"HTTP://elsewhere.example{edge.path}?from=a-proxy", b""),
    ):
        body = orjson.dumps(ballot())
        head = b"POST %b HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
        assert await edge.raw(head % (target.encode(), more, len(body)), body) == (202, {"accepted": 1})
    assert sum((await edge.ends()).values()) == before + 2


async def test_pages_of_a_known_origin_may_vote(edge: Edge) -> None:
    async with edge.session.options(edge.url + edge.path, headers={"Origin": "https://vote.example"}) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "https://vote.example"
        assert "Content-Type" in answer.headers["Access-Control-Allow-Headers"]
    _, _, headers = await edge.post(ballot(), Origin="https://vote.example")
    assert headers["access-control-allow-origin"] == "https://vote.example"
    _, _, headers = await edge.post(ballot(option_id="nobody"), Origin="https://vote.example")
    assert headers["access-control-allow-origin"] == "https://vote.example"
    _, _, headers = await edge.post(ballot(), Origin="https://evil.example")
    assert "access-control-allow-origin" not in headers


async def test_an_address_has_a_rate_and_no_redis_is_no_reason_to_refuse(system: LocalStack, edge: Edge) -> None:
    narrow = {"AIRTALLY_EDGE_ADDRESS_PER_S": "0.01", "AIRTALLY_EDGE_ADDRESS_BURST": "3"}
    lonely = edge.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    with edge_running(system, edge.settings, **narrow) as (url, _):
        other = Edge(url, edge.poll_id, edge.session, edge.settings)
        for address in ("198.51.100.7", "2001:db8::1", "2001:db8::2"):
            statuses = [(await other.post(ballot(), X_Forwarded_For=f"10.9.9.9, {address}"))[0] for _ in range(4)]
            assert statuses == ([429] * 4 if address == "2001:db8::2" else [202, 202, 202, 429])
    with edge_running(system, lonely) as (url, _):
        other = Edge(url, edge.poll_id, edge.session, edge.settings)
        assert (await other.post(ballot()))[0] == 202


async def test_many_processes_share_a_port(system: LocalStack, edge: Edge) -> None:
    shared = {"AIRTALLY_EDGE_SHARE_PORT": "true", "AIRTALLY_EDGE_PORT": str(free_port())}
    with edge_running(system, edge.settings, **shared) as (url, first), edge_running(system, edge.settings, **shared):
        viewer = Edge(url, edge.poll_id, edge.session, edge.settings)
        for _ in range(2):
            answers = await asyncio.gather(*[viewer.post(ballot(), Connection="close") for _ in range(20)])
            assert {status for status, _, _ in answers} == {202}
            await asyncio.to_thread(first.stop)


def kinds() -> set[str]:
    """What the edge's problems are called, in its sources."""
    sources = "".join(path.read_text("utf-8") for path in Path(edge_package.__file__).parent.glob("*.py"))
    return {
        *re.findall(r'kind="([a-z-]+)"', sources),
        *re.findall(r'again_later\([^"]*"[^"]*",\s*"([a-z-]+)"', sources),
    }


async def test_the_openapi_document_tells_what_is_answered(edge: Edge) -> None:
    async with edge.session.get(f"{edge.url}/openapi.json") as answer:
        text = await answer.read()
    document = orjson.loads(text)
    schemas = document["components"]["schemas"]
    for reference in set(re.findall(rb'"#/([^"]+)"', text)):
        found = document
        for part in reference.decode().split("/"):
            found = found[part]
    assert [kind for kind in kinds() if kind not in text.decode()] == []
    assert set(schemas["Ballot"]["properties"]) == set(PostedBallot.__struct_fields__)
    assert set(schemas["ForwardedBallot"]["properties"]) == set(ForwardedBallot.__struct_fields__)
    post = document["paths"]["/v1/shows/{show}/polls/{poll}/votes"]["post"]["responses"]
    assert {str(status) for _, status, _ in BODIES} <= set(post)
    assert {str(status) for _, _, status in REQUESTS if status not in {0, 426}} <= set(post)
    body = document["paths"]["/v1/shows/{show}/polls/{poll}/votes"]["post"]["requestBody"]["content"][
        "application/json"
    ]
    is_admitted = Draft202012Validator({**body["schema"], "components": document["components"]}).is_valid
    assert all(map(is_admitted, (ballot(), ballot(cast_at=1), [ballot()], [ballot(cast_at=1)])))
    assert not any(map(is_admitted, (ballot(voter=7), [ballot(voter=7)], [], {}, [ballot()] * 501)))
    validate = Draft202012Validator({**schemas["Problem"], "additionalProperties": False}).validate
    for content in (ballot(option_id="nobody"), ballot(voter=7), b"{"):
        validate((await edge.post(content))[1])
    validate((await edge.post([ballot(option_id="nobody")], Authorization=bearer()))[1])
