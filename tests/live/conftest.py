"""A poll of its own for each test, a count that the test writes, and live services on it."""

import asyncio
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from playwright.async_api import Browser, async_playwright
from redis.asyncio import Redis

from pipeline.domain.poll import PollId
from pipeline.ledger.connection import connect
from pipeline.local.ports import free_port
from pipeline.local.process import Child
from pipeline.local.stack import LocalStack
from pipeline.settings import Settings
from tests.conftest import CI
from tests.workers import start

from .air import Air
from .counting import Count

_numbers = itertools.count(1)

CANDIDATES = ("chromium", "chromium-browser", "google-chrome")

GoLive = Callable[..., Awaitable[tuple[Air, Child]]]


@pytest.fixture
def poll_id() -> PollId:
    return PollId(f"finale-{next(_numbers)}", "song")  # all topics of a session share one Redis, hence its display


@pytest.fixture
async def client(topic: Settings) -> AsyncIterator[Redis]:
    made = connect(topic)
    yield made
    await made.aclose()


@pytest.fixture
async def count(client: Redis, topic: Settings, poll_id: PollId) -> Count:
    return Count(client, topic, poll_id)


@pytest.fixture
async def go_live(system: LocalStack, topic: Settings, poll_id: PollId) -> AsyncIterator[GoLive]:
    """Start live services; they end with the test."""
    children = []
    async with aiohttp.ClientSession() as session:

        async def go(**more: str) -> tuple[Air, Child]:
            port = free_port()
            child = await asyncio.to_thread(start, system, topic, "live", AIRTALLY_LIVE_PORT=str(port), **more)
            children.append(child)
            return Air(f"http://127.0.0.1:{port}", poll_id, session), child

        yield go
    for child in children:
        await asyncio.to_thread(child.stop)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    path = next((found for name in CANDIDATES if (found := shutil.which(name))), None)
    if path is None:
        message = "no Chromium: install it (Debian, Ubuntu: apt install chromium)"
        pytest.fail(message) if CI else pytest.skip(message)
    async with async_playwright() as playwright:
        made = await playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--lang=en-GB"],
            env={**os.environ, "LANG": "en_GB.UTF-8", "TZ": "Europe/London"},
        )
        yield made
        await made.close()
