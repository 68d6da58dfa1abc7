"""The running result, for connected viewers: read once per process from Redis, made a frame once, written to everybody.

`airtally live` publishes each version on the channel `live:<show>:<poll>` (``schemas/live.md``). This is read, not
trusted to be there: without it votes are taken all the same.
"""

import asyncio
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from pipeline.domain.poll import PollId
from pipeline.edge.messages import text_frame
from pipeline.errors import UnavailableError
from pipeline.ledger.connection import unavailable_if_down

if TYPE_CHECKING:
    from pipeline.edge.socket import VoterSocket

WRITTEN_AT_ONCE = 200  # some milliseconds of this process
LISTEN_S = 1.0
AGAIN_S = 1.0
REMIND_EVERY = 60  # failures
SET_UP_ANEW_MS = 10_000  # a version so far behind the last one comes from a system that was set up anew

log = structlog.get_logger(__name__)

_version = re.compile(rb'{"version":([0-9]+)').match  # the first field, and it only grows


class Results:
    """The newest result of each poll that somebody watches, and who does."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._newest: dict[str, bytes] = {}
        self._versions: dict[str, int] = {}
        self._watching: defaultdict[str, set[VoterSocket]] = defaultdict(set)

    def join(self, poll_id: PollId, socket: "VoterSocket") -> None:
        """Show a poll's results to a viewer from now on."""
        name = channel(poll_id)
        self._watching[name].add(socket)
        self.catch_up(poll_id, socket)

    def leave(self, poll_id: PollId, socket: "VoterSocket") -> None:
        """Stop that."""
        name = channel(poll_id)
        self._watching[name].discard(socket)
        if not self._watching[name]:
            del self._watching[name]

    def catch_up(self, poll_id: PollId, socket: "VoterSocket") -> None:
        """Show the newest result, if it is watched and there is one: also to who comes again before it is let go of."""
        name = channel(poll_id)
        newest = self._newest.get(name)
        if newest is not None and socket in self._watching.get(name, ()):
            socket.show(newest)

    async def run(self) -> None:
        """Read for ever. That Redis is away, or does not let us, is no reason not to take votes."""
        failed = 0
        while True:
            try:
                with unavailable_if_down():
                    async with self._client.pubsub(ignore_subscribe_messages=True) as pubsub:
                        await self._read(pubsub)
            except (UnavailableError, RedisError) as error:
                failed += 1
                if failed == 1 or failed % REMIND_EVERY == 0:
                    log.warning("results are not shown to viewers", error=str(error))
                await asyncio.sleep(AGAIN_S)

    async def _read(self, pubsub: PubSub) -> None:
        subscribed = self._newest.keys() - self._watching.keys()  # before, and let go of now
        while True:
            wanted = set(self._watching)
            if new := sorted(wanted - subscribed):
                await pubsub.subscribe(*new)
                async with self._client.pipeline(transaction=False) as pipe:
                    for name in new:
                        pipe.hget(name, "json")
                    lasts: list[Any] = await pipe.execute()
                for name, last in zip(new, lasts, strict=True):
                    if last is not None:
                        await self._show(name, last)
            for name in subscribed - wanted:
                self._newest.pop(name, None)
                self._versions.pop(name, None)
                await pubsub.unsubscribe(name)
            subscribed = wanted
            if not subscribed:
                await asyncio.sleep(LISTEN_S / 10)
                continue
            message = await pubsub.get_message(timeout=LISTEN_S / 10)
            newest: dict[str, bytes] = {}  # while some were written to thousands, others have come: the last says all
            while message is not None:
                newest[message["channel"].decode()] = message["data"]
                message = await pubsub.get_message(timeout=0)
            for name in newest.keys() & subscribed:  # else it came behind the last viewer
                await self._show(name, newest[name])

    async def _show(self, name: str, result: bytes) -> None:
        """Show a result to everybody, unless it is as old as the last one: one is read and published at the same moment."""
        found = _version(result)
        version, last = int(found[1]) if found else 0, self._versions.get(name, -1)
        if last - SET_UP_ANEW_MS < version <= last:
            return
        self._versions[name] = version
        frame = self._newest[name] = text_frame(b'{"result":%b}' % result)
        for index, socket in enumerate(list(self._watching.get(name, ()))):
            socket.show(frame)
            if index % WRITTEN_AT_ONCE == WRITTEN_AT_ONCE - 1:
                await asyncio.sleep(0)


def channel(poll_id: PollId) -> str:
    """Name the channel of a poll's results (``schemas/live.md``)."""
    return f"live:{poll_id.show_id}:{poll_id.poll_id}"
