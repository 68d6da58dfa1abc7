"""One real Kafka, Redis and ClickHouse for the whole session, and settings with a topic of its own for each test.

A missing server skips a test on a laptop; with CI=true in the environment it fails: a gate that skips is no gate.
"""

import asyncio
import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from pipeline.errors import MissingToolError
from pipeline.local.stack import LocalStack
from pipeline.log.topics import open_topics
from pipeline.settings import Settings

CI = os.environ.get("CI", "").lower() in {"true", "1"}

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A job that a shell has put into the background ignores Ctrl-C, and what it starts would too: some tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis_settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis_settings.register_profile("laptop", deadline=None)
hypothesis_settings.load_profile("ci" if CI else "laptop")

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Kafka, Redis and ClickHouse, on free ports; they end with this process, however it ends."""
    stack = LocalStack(tmp_path_factory.mktemp("system"))
    try:
        stack.start()
    except MissingToolError as error:
        if CI:
            pytest.fail(str(error))
        pytest.skip(str(error))
    yield stack
    stack.stop()


@pytest.fixture
def found(system: LocalStack, tmp_path: Path) -> Settings:
    """Settings of a system of its own: a topic, a database, nothing in either."""
    number = next(_numbers)
    return Settings(
        kafka=system.addresses.kafka,
        redis_url=system.addresses.redis_url,
        clickhouse_url=system.addresses.clickhouse_url,
        clickhouse_database=f"test_{number}",
        topic=f"votes-{number}",
        partitions=4,
        home=tmp_path / "home",
    )


@pytest.fixture
def topic(found: Settings) -> Settings:
    """The same, with the topic made."""

    async def make() -> None:
        async with open_topics(found) as topics:
            assert await topics.create()

    asyncio.run(make())
    return found
