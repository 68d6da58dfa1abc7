"""A crowd over real connections while something breaks: what was acknowledged is counted once, whatever else happens."""

import asyncio
from dataclasses import replace

import aiohttp
import pytest

from pipeline.domain.result import merge
from pipeline.ledger.reader import open_ledgers
from pipeline.load.crowd import Crowd
from pipeline.load.oracle import Oracle
from pipeline.load.plan import Plan
from pipeline.local.ports import free_port
from pipeline.local.stack import LocalStack
from tests.workers import folded

from .test_http import bearer
from .viewers import Edge, ballot, edge_running

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


def plan_of(edge: Edge, url: str, **fields: object) -> Plan:
    plan = Plan(url, edge.poll_id, ("ada", "bo"), per_s=400, seconds=3, connections=50, tries=30, patience_s=60)
    return replace(plan, **fields)  # type: ignore[arg-type]


async def counted(edge: Edge) -> dict[str, int]:
    await folded(edge.settings)
    async with open_ledgers(edge.settings) as ledgers:
        result = merge(edge.poll_id, await ledgers.read(edge.poll_id))
    assert result is not None
    return dict(result.totals)


async def play(plan: Plan) -> Oracle:
    crowd = Crowd(plan)
    if plan.is_socket:
        assert await crowd.connect() == plan.connections
    try:
        return await asyncio.wait_for(crowd.play(), 120)
    finally:
        await crowd.close()


@pytest.mark.parametrize("is_socket", [False, True])
async def test_a_quiet_evening(edge: Edge, is_socket: bool) -> None:
    oracle = await play(plan_of(edge, edge.url, is_socket=is_socket, seconds=1))
    assert oracle.answers == {"202": 400}
    assert oracle.totals.total() == 400
    totals = await counted(edge)
    assert oracle.differences(totals) == []
    # and the oracle would notice: a vote too many, and one that is missing
    assert oracle.differences({**totals, "ada": totals["ada"] + 1})
    assert oracle.differences({**totals, "bo": totals["bo"] - 1})


async def test_arrays_from_an_edge_in_front(edge: Edge) -> None:
    oracle = await play(plan_of(edge, edge.url, batch=100, token=bearer().split()[1], per_s=20))
    assert oracle.totals.total() == 6_000
    assert oracle.differences(await counted(edge)) == []


async def test_an_edge_that_is_killed_loses_nothing_that_it_acknowledged(system: LocalStack, edge: Edge) -> None:
    port = str(free_port())
    with edge_running(system, edge.settings, AIRTALLY_EDGE_PORT=port) as (url, child):
        playing = asyncio.create_task(play(plan_of(edge, url)))
        await asyncio.sleep(1)
        await asyncio.to_thread(child.kill)
        with edge_running(system, edge.settings, AIRTALLY_EDGE_PORT=port):
            oracle = await playing
    assert oracle.answers["no answer"] + oracle.answers["no connection"] > 0
    assert oracle.totals.total() > 900
    assert oracle.differences(await counted(edge)) == []


@pytest.mark.parametrize("is_socket", [False, True])
async def test_an_edge_that_is_drained_answers_what_it_has(system: LocalStack, edge: Edge, is_socket: bool) -> None:
    shared = {"AIRTALLY_EDGE_SHARE_PORT": "true", "AIRTALLY_EDGE_PORT": str(free_port())}
    with edge_running(system, edge.settings, **shared) as (url, first):
        playing = asyncio.create_task(play(plan_of(edge, url, is_socket=is_socket)))
        await asyncio.sleep(0.7)
        with edge_running(system, edge.settings, **shared):
            await asyncio.to_thread(first.stop)
            assert "Traceback" not in first.launch.log_file.read_text()
            oracle = await playing
    assert oracle.undecided.total() == 0
    assert oracle.totals.total() == 1_200  # every viewer, at the first edge or at the second
    assert oracle.differences(await counted(edge)) == []


async def test_more_than_it_carries_is_refused_and_what_it_took_is_counted(system: LocalStack, edge: Edge) -> None:
    """Kafka's acknowledgements take a while; so a bound on votes in flight is reached at any rate."""
    narrow = {"AIRTALLY_EDGE_IN_FLIGHT": "500", "AIRTALLY_EDGE_CONNECTIONS": "60", "AIRTALLY_EDGE_WAIT_S": "0.001"}
    with edge_running(system, edge.settings, **narrow) as (url, _):
        token = bearer().split()[1]
        oracle = await play(plan_of(edge, url, batch=400, token=token, per_s=1_000, seconds=0.3, tries=1))
    assert oracle.answers["503"] > 0
    assert oracle.refused["overloaded"] > 0
    assert oracle.totals.total() > 0
    assert oracle.differences(await counted(edge)) == []


async def test_who_has_voted_makes_room_for_who_waits(system: LocalStack, edge: Edge) -> None:
    """Browsers keep their connections for minutes: without this a full edge would be full of viewers who are done."""
    with edge_running(system, edge.settings, AIRTALLY_EDGE_CONNECTIONS="20") as (url, _):
        viewers = [Edge(url, edge.poll_id, aiohttp.ClientSession(), edge.settings) for _ in range(60)]
        try:
            async with asyncio.timeout(20):
                answers = await asyncio.gather(*[viewer.post(ballot()) for viewer in viewers])
        finally:
            await asyncio.gather(*[viewer.session.close() for viewer in viewers])
    assert {status for status, _, _ in answers} == {202}
