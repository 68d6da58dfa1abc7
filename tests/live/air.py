"""What goes over the air, as a client receives it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from pipeline.domain.poll import PollId

WAIT_S = 20.0


@dataclass
class Air:
    """One `live` service, from outside."""

    url: str
    poll_id: PollId
    session: aiohttp.ClientSession

    @property
    def path(self) -> str:
        return "/v1/shows/{}/polls/{}".format(*self.poll_id)

    async def get(self, path: str | None = None, **headers: str) -> tuple[int, dict[str, str], Any]:
        """Give status, headers and content."""
        answer = await self.session.get(self.url + (self.path if path is None else path), headers=headers)
        content = await answer.read()
        told = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status, told, orjson.loads(content) if "json" in answer.content_type else content

    async def until(self, condition: Callable[[Any], bool], what: str) -> Any:
        """Wait until the snapshot is as it should be; give it."""
        deadline, content = time.monotonic() + WAIT_S, None
        while time.monotonic() < deadline:
            status, _, content = await self.get()
            if status == 200 and condition(content):
                return content
            await asyncio.sleep(0.05)
        raise AssertionError(f"not within {WAIT_S} s: {what}; last {content}")

    async def served(self) -> Any:
        """Wait until the poll is served; give its snapshot."""
        return await self.until(bool, "served")

    @asynccontextmanager
    async def events(self, last_event_id: int | None = None) -> AsyncIterator["Events"]:
        headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
        async with self.session.get(f"{self.url}{self.path}/events", headers=headers) as answer:
            assert answer.status == 200
            assert answer.content_type == "text/event-stream"
            yield Events(answer)


class Events:
    """An open stream."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self, timeout_s: float = WAIT_S) -> Any:
        """Give the next event's data; its id is checked to be its version."""
        async with asyncio.timeout(timeout_s):
            event_id = None
            while line := await self._answer.content.readline():
                if line.startswith(b"id: "):
                    event_id = int(line[4:])
                if line.startswith(b"data: ") and event_id is not None:  # a beat has no id
                    content = orjson.loads(line[6:])
                    assert content["version"] == event_id
                    return content
        raise EOFError

    async def until(self, condition: Callable[[Any], bool]) -> list[Any]:
        """Give all events up to the one that is as it should be; versions only grow."""
        got = [await self.next()]
        while not condition(got[-1]):
            got.append(await self.next())
            assert got[-1]["version"] > got[-2]["version"]
        return got
