"""Whatever comes in: a precise problem or a closed connection, never a 500, and nothing in the log."""

import asyncio
import re
import uuid
from typing import Any

import orjson
import pytest

from pipeline.local.stack import LocalStack

from .viewers import WAIT_S, Edge, ballot, close, edge_running

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

DEEP = b'{"vote_id":' + b"[" * 2_000
UUID = str(uuid.uuid4())
GOOD = orjson.dumps(ballot())

# What is posted, and the status and a part of the reason that it must get.
BODIES: list[tuple[bytes | dict[str, Any], int, str]] = [
    (b"", 400, "not JSON"),
    (b"{", 400, "not JSON"),
    (b"nonsense", 400, "not JSON"),
    (GOOD + b"{}", 400, "not JSON"),
    (b"\xef\xbb\xbf{}", 400, "not JSON"),
    (b"\xff\xfe{\x00}\x00", 400, "not JSON"),
    (b'{"voter":"\xff"}', 400, "not JSON"),
    (b'{"voter":"\\ud800"}', 400, "not JSON"),
    (b'{"voter":NaN}', 400, "not JSON"),
    (DEEP, 422, "vote_id"),
    (b'{"x":' + b"[" * 2_000, 422, "unknown field"),
    (b"null", 422, "object"),
    (b"7", 422, "object"),
    (b'"text"', 422, "object"),
    (b"{}", 422, "vote_id"),
    (ballot(vote_id=None), 422, "vote_id"),
    (ballot(option_id=None), 422, "option_id"),
    (ballot(voter=None), 422, "voter"),
    (ballot(vote_id=7), 422, "$.vote_id"),
    (ballot(vote_id=UUID.replace("-", "")), 422, "$.vote_id"),
    (ballot(vote_id=UUID + "\n"), 422, "$.vote_id"),
    (ballot(vote_id="{" + UUID + "}"), 422, "$.vote_id"),
    (ballot(option_id="Ada"), 422, "$.option_id"),
    (ballot(option_id="a" * 64), 422, "$.option_id"),
    (ballot(option_id=["ada"]), 422, "$.option_id"),
    (ballot(option_id="nobody"), 422, "not an option"),
    (ballot(voter=""), 422, "$.voter"),
    (ballot(voter="v" * 257), 422, "$.voter"),
    (ballot(voter=True), 422, "$.voter"),
    (ballot(channel="TV"), 422, "$.channel"),
    (ballot(cast_at=1), 422, "cast_at"),
    (ballot(voter_id="mine"), 422, "voter_id"),
    (ballot(show_id="other"), 422, "show_id"),
]

HEAD = b"POST /v1/shows/gala/polls/POLL/votes HTTP/1.1\r\nHost: edge\r\n"
JSON = b"Content-Type: application/json\r\n"
HANDSHAKE = (
    HEAD.replace(b"POST", b"GET").replace(b"votes", b"socket") + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
)
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

# Bytes that no client library sends, and the status that they must get; 0: the connection is closed without an answer.
REQUESTS: list[tuple[str, list[bytes], int]] = [
    ("nonsense", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], 400),
    ("two lengths", [HEAD + JSON + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"], 400),
    ("length and chunks", [HEAD + JSON + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], 400),
    ("negative length", [HEAD + JSON + b"Content-Length: -1\r\n\r\n"], 400),
    ("folded header", [HEAD + b"X-Odd: a\r\n b: c\r\n\r\n"], 400),
    ("nul in a header", [HEAD + b"X-Odd: a\x00b\r\n\r\n"], 400),
    ("huge length", [HEAD + JSON + b"Content-Length: 99999999999\r\n\r\n"], 413),
    ("length of many digits", [HEAD + JSON + b"Content-Length: " + b"0" * 5_000 + b"\r\n\r\n"], 400),
    ("length of a number that is none", [HEAD + JSON + b"Content-Length: 1e3\r\n\r\n"], 400),
    ("huge body in chunks", [HEAD + JSON + b"Transfer-Encoding: chunked\r\n\r\n2000\r\n" + b"x" * 8192 + b"\r\n"], 413),
    ("bad chunk", [HEAD + JSON + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"], 400),
    ("many headers", [HEAD + b"X: y\r\n" * 600 + b"\r\n"], 431),
    ("long header", [HEAD + b"X: " + b"y" * 20_000 + b"\r\n\r\n"], 431),
    ("endless header", [HEAD + b"X: "] + [b"y" * 6_000] * 4, 431),
    ("endless address", [b"POST /"] + [b"y" * 6_000] * 4, 431),
    ("no type", [HEAD + b"Content-Length: 2\r\n\r\n{}"], 415),
    ("packed", [HEAD + JSON + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"], 415),
    ("packed chunks", [HEAD + JSON + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"], 501),
    ("chunks of HTTP/1.0", [HEAD.replace(b"1.1", b"1.0") + JSON + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], 400),
    ("form", [HEAD + b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b"], 415),
    ("another method", [b"DELETE" + HEAD[4:] + b"\r\n"], 405),
    ("CONNECT", [b"CONNECT edge:443 HTTP/1.1\r\nHost: edge\r\n\r\n"], 400),
    ("a socket after a POST", [HEAD + JSON + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\n{}"], 422),
    ("HTTP/2", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], 400),
    ("odd show", [b"POST /v1/shows/GALA/polls/best/votes HTTP/1.1\r\nHost: e\r\nContent-Length: 0\r\n\r\n"], 400),
    ("odd poll", [b"POST /v1/shows/gala/polls/a%2f..%2fb/votes HTTP/1.1\r\nHost: e\r\nContent-Length: 0\r\n\r\n"], 400),
    ("no such address", [b"GET /../../etc/passwd HTTP/1.1\r\nHost: edge\r\n\r\n"], 404),
    ("a socket without its handshake", [b"GET /v1/shows/gala/polls/best/socket HTTP/1.1\r\nHost: edge\r\n\r\n"], 426),
    ("a handshake without its key", [HANDSHAKE + b"Sec-WebSocket-Version: 13\r\n\r\n"], 400),
    ("a handshake of another version", [HANDSHAKE + KEY + b"Sec-WebSocket-Version: 8\r\n\r\n"], 400),
    ("half a request, then the end", [HEAD + JSON + b"Content-Length: 500\r\n\r\n{"], 408),
    ("nothing at all", [b""], 0),
]  # fmt: skip


async def test_bodies(edge: Edge) -> None:
    before, wrong = await edge.ends(), []
    for body, status, reason in BODIES:
        got, problem, headers = await edge.post(body)
        told = (got, problem["status"], reason in problem["detail"])
        wrong += [] if told == (status, status, True) else [(body, problem)]
        assert headers["content-type"] == "application/problem+json"
        assert problem["instance"] == edge.path
        assert "account" not in problem["detail"]  # who votes is nobody's business
    assert wrong == []
    assert await edge.ends() == before
    assert (await edge.post(GOOD))[0] == 202


@pytest.fixture(scope="session")
def hurried(system: LocalStack, edge_settings: Any) -> Any:
    """An edge that does not wait as long as one on the air."""
    with edge_running(system, edge_settings, AIRTALLY_EDGE_REQUEST_S="3", AIRTALLY_EDGE_ADDRESS_BURST="1000000") as (
        url,
        _,
    ):
        yield url


async def test_requests(hurried: str, edge: Edge) -> None:
    hurried_edge = Edge(hurried, edge.poll_id, edge.session, edge.settings)
    before = await edge.ends()
    answers = await asyncio.gather(
        *[
            hurried_edge.raw(*[chunk.replace(b"POLL", edge.poll_id.poll_id.encode()) for chunk in chunks])
            for _, chunks, _ in REQUESTS
        ]
    )
    told = {name: status for (name, _, _), (status, _) in zip(REQUESTS, answers, strict=True)}
    assert told == {name: status for name, _, status in REQUESTS}
    for _, problem in answers:
        assert problem is None or {"type", "title", "status", "detail", "instance"} <= set(problem)
    assert await edge.ends() == before


async def test_requests_that_do_not_wait_for_answers_are_answered_in_their_order(edge: Edge) -> None:
    bodies = [orjson.dumps(ballot(option_id=option)) for option in ("ada", "nobody", "bo", "ada")]
    requests = b"".join(
        b"POST %b HTTP/1.1\r\nHost: e\r\n%bContent-Length: %d\r\n%b\r\n%b"
        % (edge.path.encode(), JSON, len(body), b"Connection: close\r\n" if index == 3 else b"", body)
        for index, body in enumerate(bodies)
    )
    host, _, port = edge.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for part in (requests[:100], requests[100:777], requests[777:]):
        writer.write(part)
        await asyncio.sleep(0.02)
    answered = await asyncio.wait_for(reader.read(), WAIT_S)
    await close(writer)
    assert re.findall(rb"HTTP/1.1 (\d+)", answered) == [b"202", b"422", b"202", b"202"]


async def test_no_byte_of_noise_is_too_much(edge: Edge) -> None:
    """A good request with one byte changed is served, refused or closed, and the edge goes on."""
    request = b"POST %b HTTP/1.1\r\nHost: e\r\n%bConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (
        edge.path.encode(), JSON, len(GOOD), GOOD,
    )  # fmt: skip
    for index in range(0, len(request), 3):
        changed = bytearray(request)
        changed[index] ^= 0x55
        status, _ = await edge.raw(bytes(changed) + b"\r\n" * 40)
        assert status < 500, bytes(changed)
    assert (await edge.post(ballot()))[0] == 202
