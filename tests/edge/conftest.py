"""An edge and a tally on a topic of their own, for all tests of this folder; polls of its own for each test."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from pipeline.domain.poll import PollId
from pipeline.local.stack import LocalStack
from pipeline.log.topics import open_topics
from pipeline.settings import Settings
from tests.workers import running

from .viewers import EDGE, Edge, edge_running

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def edge_settings(system: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a topic that is there."""
    found = Settings(
        kafka=system.addresses.kafka,
        redis_url=system.addresses.redis_url,
        clickhouse_url=system.addresses.clickhouse_url,
        topic=f"edge-{next(_numbers)}",
        partitions=4,
        home=tmp_path_factory.mktemp("home"),
        **EDGE,
    )

    async def make() -> None:
        async with open_topics(found) as topics:
            assert await topics.create()

    asyncio.run(make())
    return found


@pytest.fixture(scope="session")
def service(system: LocalStack, edge_settings: Settings) -> Iterator[str]:
    """Run a tally and an edge; give the edge's address."""
    with running(system, edge_settings, "tally"), edge_running(system, edge_settings) as (url, _):
        yield url


@pytest.fixture
def poll_id() -> PollId:
    return PollId("gala", f"best-{next(_numbers)}")


@pytest.fixture
async def edge(service: str, edge_settings: Settings, poll_id: PollId) -> AsyncIterator[Edge]:
    """The edge, as a viewer of a poll that is open sees it."""
    async with aiohttp.ClientSession() as session:
        viewer = Edge(service, poll_id, session, edge_settings)
        await viewer.open_poll()
        yield viewer
