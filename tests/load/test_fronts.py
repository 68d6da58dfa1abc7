"""Edges in front, against an edge of a few lines: what they do with each of its answers. With a real one the demo plays."""

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pipeline.domain.poll import PollId
from pipeline.domain.record import Vote, encode
from pipeline.errors import PublishError
from pipeline.load.fronts import MAX_VOTES, Fronts

POLL = PollId("gala", "best")
TOKENS = {"cdn-1": "one", "cdn-2": "two"}

Arrays = list[tuple[str, list[dict[str, Any]]]]  # by token
Answer = Callable[[int, int], tuple[int, dict[str, Any]]]  # of the number of a request, and of its votes


def taken(_number: int, votes: int) -> tuple[int, dict[str, Any]]:
    return 202, {"accepted": votes}


def problem(status: int, kind: str) -> tuple[int, dict[str, Any]]:
    return status, {"type": f"urn:airtally:problem:{kind}", "retry_after_ms": 1}


@contextlib.asynccontextmanager
async def edge(answer: Answer) -> AsyncIterator[tuple[Fronts, Arrays]]:
    arrays: Arrays = []

    async def post(request: web.Request) -> web.Response:
        votes = orjson.loads(await request.read())
        arrays.append((request.headers["Authorization"], votes))
        status, told = answer(len(arrays) - 1, len(votes))
        return web.json_response(told, status=status)

    app = web.Application()
    app.router.add_post("/v1/shows/gala/polls/best/votes", post)
    async with TestServer(app) as server, Fronts(str(server.make_url("")).rstrip("/"), POLL, TOKENS) as fronts:
        yield fronts, arrays


def votes_of(voters: int, each: int = 1) -> list[tuple[bytes, bytes]]:
    """Give votes, of one voter after the other, and again."""
    return [
        (f"v{voter}".encode(), encode(Vote(str(uuid.uuid4()), *POLL, "ada", f"v{voter}", 1_000 + time, "e", "app")))
        for time in range(each)
        for voter in range(voters)
    ]


async def test_all_is_sent_in_arrays_a_voter_by_one_edge_and_in_order() -> None:
    async with edge(taken) as (fronts, arrays):
        await asyncio.gather(fronts.forward(votes_of(400, each=3)), fronts.forward(votes_of(400)), fronts.forward([]))
        assert sum(fronts.acknowledged.values()) == 1_600
        assert fronts.arrays == len(arrays)
    assert max(len(votes) for _, votes in arrays) == MAX_VOTES
    assert {token for token, _ in arrays} == {"Bearer one", "Bearer two"}
    by_voter: dict[str, list[tuple[str, int]]] = {}
    for token, votes in arrays:
        for vote in votes:
            assert set(vote) == {"vote_id", "option_id", "voter", "channel", "cast_at"}
            by_voter.setdefault(vote["voter"], []).append((token, vote["cast_at"]))
    assert all(len({token for token, _ in each}) == 1 for each in by_voter.values())
    assert all([at for _, at in each] == [1_000, 1_001, 1_002, 1_000] for each in by_voter.values())


@pytest.mark.parametrize("refusal", [(404, "unknown-poll"), (429, "too-many-votes"), (503, "overloaded")])
async def test_what_was_not_taken_is_sent_again(refusal: tuple[int, str]) -> None:
    async with edge(lambda number, votes: taken(number, votes) if number > 3 else problem(*refusal)) as (
        fronts,
        arrays,
    ):
        await fronts.forward(votes_of(20))
        assert sum(fronts.acknowledged.values()) == 20
    ids = Counter(vote["vote_id"] for _, votes in arrays for vote in votes)
    assert len(ids) == 20
    assert max(ids.values()) > 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(problem(503, "not-acknowledged"), id="it may be in the log or not"),
        pytest.param(problem(409, "poll-closed"), id="no edge in front should have sent it"),
        pytest.param(problem(401, "invalid-token"), id="not let in"),
        pytest.param((202, {"accepted": 1}), id="another number of votes"),
        pytest.param((202, {}), id="no number"),
        pytest.param((500, {}), id="a bug"),
    ],
)
async def test_anything_else_is_said_and_is_not_acknowledged(answer: tuple[int, dict[str, Any]]) -> None:
    async with edge(lambda _number, _votes: answer) as (fronts, _):
        with pytest.raises(PublishError, match=str(answer[0])):
            await fronts.forward(votes_of(20))
        with pytest.raises(PublishError):
            await fronts.forward(votes_of(20))  # nothing overtakes what failed
        assert sum(fronts.acknowledged.values()) == 0


async def test_an_edge_that_is_not_there_is_said() -> None:
    async with Fronts("http://127.0.0.1:1", POLL, TOKENS) as fronts:
        with pytest.raises(PublishError, match="did not answer"):
            await fronts.forward(votes_of(1))
