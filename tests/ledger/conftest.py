from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from pipeline.ledger.connection import connect
from pipeline.settings import Settings

from .books import PARTITION, Book, ModelBook, RedisBook


@pytest.fixture
async def client(found: Settings) -> AsyncIterator[Redis]:
    client = connect(found)
    yield client
    await client.aclose()


@pytest.fixture(params=["model", pytest.param("redis", marks=pytest.mark.real)])
async def book(request: pytest.FixtureRequest) -> AsyncIterator[Book]:
    if request.param == "model":
        yield ModelBook()
        return
    found: Settings = request.getfixturevalue("found")
    client = connect(found)
    redis_book = RedisBook(client, found.topic)
    await redis_book.ledger.create(PARTITION, 0)
    yield redis_book
    await client.aclose()
