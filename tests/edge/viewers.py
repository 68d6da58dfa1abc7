"""Viewers of an edge: whole requests, and bytes that no client library would send."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from pipeline.clock import now_ms
from pipeline.domain.poll import PollId
from pipeline.domain.record import Option, PollClosed, PollOpened
from pipeline.local.ports import free_port
from pipeline.local.process import Child
from pipeline.local.stack import LocalStack
from pipeline.log.offsets import LogOffsets
from pipeline.log.publisher import Publisher
from pipeline.settings import Settings
from tests.workers import start

SECRET = "a secret of the tests, which is long enough"
TOKEN_KEYS = "new:0123456789abcdef0123456789abcdef,old:fedcba9876543210fedcba9876543210"
EDGE: dict[str, Any] = {"edge_secret": SECRET, "edge_token_keys": TOKEN_KEYS}
WAIT_S = 60.0


@contextlib.contextmanager
def edge_running(system: LocalStack, found: Settings, **more: str) -> Iterator[tuple[str, Child]]:
    """Run an edge; give its address, and its process."""
    environment = {
        "AIRTALLY_EDGE_PORT": str(free_port()),
        "AIRTALLY_EDGE_SECRET": SECRET,
        "AIRTALLY_EDGE_TOKEN_KEYS": TOKEN_KEYS,
        "AIRTALLY_EDGE_ORIGINS": "https://vote.example",
        "AIRTALLY_EDGE_PROXIES": "127.0.0.1",
        "AIRTALLY_EDGE_ADDRESS_PER_S": "100000",
        "AIRTALLY_EDGE_ADDRESS_BURST": "100000",
        **more,
    }
    child = start(system, found, "edge", **environment)
    try:
        yield f"http://127.0.0.1:{environment['AIRTALLY_EDGE_PORT']}", child
    finally:
        child.stop()


def ballot(**fields: object) -> dict[str, object]:
    """Make the body of a good vote, with other fields, or without those that are None."""
    made = {"vote_id": str(uuid.uuid4()), "option_id": "ada", "voter": f"account {uuid.uuid4()}", **fields}
    return {name: value for name, value in made.items() if value is not None}


@dataclass
class Edge:
    """One edge, from outside."""

    url: str
    poll_id: PollId
    session: aiohttp.ClientSession
    settings: Settings

    @property
    def path(self) -> str:
        return "/v1/shows/{}/polls/{}/votes".format(*self.poll_id)

    async def open_poll(self, poll_id: PollId | None = None) -> None:
        """Open a poll, and wait until the edge knows."""
        show, poll = poll_id or self.poll_id
        opened_at = now_ms()
        async with Publisher(self.settings) as publisher:
            await publisher.publish_marker(PollOpened(show, poll, opened_at, (Option("ada"), Option("bo")), 3))
        path = f"/v1/shows/{show}/polls/{poll}/votes"
        await self.until(422, ballot(option_id="nobody"), path)

    async def close_poll(self, in_ms: int = 0) -> int:
        """Close the poll, and wait until the edge knows."""
        closed_at = now_ms() + in_ms
        async with Publisher(self.settings) as publisher:
            await publisher.publish_marker(PollClosed(*self.poll_id, closed_at))
        await self.until(409, ballot(option_id="nobody"), self.path)
        return closed_at

    async def until(self, status: int, content: object, path: str, **headers: str) -> None:
        """Send again until it is answered as it should be."""
        deadline = time.monotonic() + WAIT_S
        while (last := await self.post(content, path, **headers))[0] != status:
            assert time.monotonic() < deadline, last
            await asyncio.sleep(0.05)

    async def post(self, content: object, path: str | None = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Post JSON; give status, content and headers (names in lower case)."""
        sent = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        data = content if isinstance(content, bytes) else orjson.dumps(content)
        async with self.session.post(self.url + (path or self.path), data=data, headers=sent) as answer:
            told = {name.lower(): value for name, value in answer.headers.items()}
            read = await answer.read()
            return answer.status, orjson.loads(read) if read else None, told

    async def ends(self) -> dict[int, int]:
        """Give the end offsets of the log."""
        async with LogOffsets(self.settings) as offsets:
            return dict(await offsets.end())

    async def raw(self, *chunks: bytes, then_s: float = WAIT_S) -> tuple[int, Any]:
        """Send bytes as they are; give the first answer's status and content. Status 0: closed without one."""
        where = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        try:
            for chunk in chunks:
                writer.write(chunk)
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
            async with asyncio.timeout(then_s):
                head = await _read_head(reader)
            if not head:
                return 0, None
            lines = head.decode("latin-1").split("\r\n")
            length = next((int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")), 0)
            body = await reader.readexactly(length)
            return int(lines[0].split(" ")[1]), orjson.loads(body) if body else None
        finally:
            await close(writer)


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
