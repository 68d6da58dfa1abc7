"""The same code on a Redis Cluster: the ledgers are spread over its primaries, and what is counted is as exact."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest
from redis import Redis

from pipeline.domain.poll import PollId
from pipeline.domain.result import merge
from pipeline.errors import RedisMismatchError
from pipeline.ledger.connection import check, connect
from pipeline.live.display import Display
from pipeline.live.reading import LiveReader
from pipeline.local.ports import LOOPBACK
from pipeline.local.stack import LocalStack
from pipeline.log.publisher import Publisher
from pipeline.log.topics import open_topics
from pipeline.settings import Settings
from pipeline.show.player import Player
from pipeline.show.script import default_script
from tests.workers import folded, found_in_redis, running

from .cluster import redis_cluster

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as ports:
        yield ports


@pytest.fixture
def clustered(found: Settings, ports: list[int]) -> Settings:
    # The topic's name decides the slots: with this one every primary has partitions.
    return found.model_copy(
        update={"redis_url": f"redis+cluster://{LOOPBACK}:{ports[0]}", "topic": "votes-spread", "partitions": 6}
    )


async def test_a_show_is_counted_as_planned(system: LocalStack, clustered: Settings, ports: list[int]) -> None:
    async with open_topics(clustered) as topics:
        await topics.create()
    async with Publisher(clustered) as publisher:
        expected = await Player(default_script(records=12_000, seconds=2), 5, publisher).play()
    poll_id = PollId(expected.show_id, expected.poll_id)
    with running(system, clustered, "tally"):
        await folded(clustered)
    assert expected.differences(await found_in_redis(clustered, poll_id)) == []
    assert await _on_the_air(clustered, poll_id) == Counter(expected.totals)
    spread = [_partitions_on(port, clustered) for port in ports]
    assert sum(spread) == clustered.partitions
    assert all(spread), "each primary has ledgers"


async def _on_the_air(found: Settings, poll_id: PollId) -> Counter[str]:
    """Read the totals as `live` does."""
    client = connect(found)
    try:
        live = LiveReader(client, found.topic, found.partitions)
        assert await live.polls() == [poll_id]
        assert len((await live.heads()).positions) == found.partitions
        assert await Display(client, found.topic, found.partitions).known() == []
        result = merge(poll_id, await live.read(poll_id, [], 0))
        assert result is not None
        return Counter(result.totals)
    finally:
        await client.aclose()


def _partitions_on(port: int, found: Settings) -> int:
    with Redis(port=port) as node:
        return sum(1 for _ in node.scan_iter(match=f"{{{found.topic}/*}}:head"))


async def test_the_url_must_say_that_it_is_a_cluster(clustered: Settings, ports: list[int]) -> None:
    async with asyncio.timeout(10):
        client = connect(clustered)
        assert (await check(client))[0].isdigit()
        await client.aclose()
        plain = connect(clustered.model_copy(update={"redis_url": f"redis://{LOOPBACK}:{ports[1]}"}))
        with pytest.raises(RedisMismatchError, match=r"redis\+cluster://"):
            await check(plain)
        await plain.aclose()
