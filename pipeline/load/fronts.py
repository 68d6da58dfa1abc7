"""Edges in front of an edge: they have received votes, and send them on in arrays, with a token, until each is acknowledged."""

import asyncio
import time
import zlib
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from types import TracebackType
from typing import Self

import aiohttp
import msgspec

from pipeline.domain.poll import PollId
from pipeline.domain.record import Vote, decode
from pipeline.errors import PublishError
from pipeline.load.connections import object_in
from pipeline.waiting import end

MAX_VOTES = 500  # in an array
COLLECT_S = 0.1  # how long votes wait for others to share an array with
ANSWER_S = 60.0  # an edge says long before that Kafka has not acknowledged
PATIENCE_S = 60.0  # with an edge that takes nothing
AGAIN_S = 0.05

# Refusals after which nothing of an array is in the log, by the last part of their type: it may be sent again, and each
# vote is there once. An edge learns of a new poll some times a second.
_NOTHING_TAKEN = frozenset(("unknown-poll", "too-many-votes", "overloaded"))


class _Forwarded(msgspec.Struct):
    vote_id: str
    option_id: str
    voter: str
    channel: str
    cast_at: int  # when this edge received it, ms since the epoch


class Fronts:
    """Some edges in front, each with voters of its own. Use it as an asynchronous context manager."""

    def __init__(self, url: str, poll_id: PollId, tokens: Mapping[str, str]) -> None:
        """Choose.

        Args:
            url: of the edge.
            poll_id: what is voted in.
            tokens: a token for each edge in front, by its id.
        """
        self._url = "{}/v1/shows/{}/polls/{}/votes".format(url, *poll_id)
        self._fronts = {edge_id: _Front(self._url, token) for edge_id, token in tokens.items()}
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._running = [asyncio.create_task(front.run()) for front in self._fronts.values()]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await end(self._running)

    @property
    def acknowledged(self) -> dict[str, int]:
        """Votes that were acknowledged, by edge in front."""
        return {edge_id: front.acknowledged for edge_id, front in self._fronts.items()}

    @property
    def arrays(self) -> int:
        """Requests that were answered with 202."""
        return sum(front.arrays for front in self._fronts.values())

    def forward(self, votes: Sequence[tuple[bytes, bytes]]) -> Awaitable[None]:
        """Send votes on (voter, record): a voter's votes by one edge in front, in order.

        The record's voter is the identity that the edge replaces by a pseudonym, its `cast_at` the instant of receipt.

        Raises:
            PublishError: (the awaitable) an array was not acknowledged.
        """
        fronts = list(self._fronts.values())
        ballots: list[list[bytes]] = [[] for _ in fronts]
        for voter, value in votes:
            vote = decode(value)
            if not isinstance(vote, Vote):
                raise TypeError("only votes are sent through an edge")
            ballots[zlib.adler32(voter) % len(fronts)].append(_encoded(vote))
        return _all([front.take(each) for front, each in zip(fronts, ballots, strict=True) if each])


class _Front:
    """One of them: sends one array at a time, of what has come in meanwhile: so nothing overtakes."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._waiting: deque[bytes] = deque()
        self._told: deque[tuple[int, asyncio.Future[None]]] = deque()  # how many must be acknowledged for each
        self._taken = 0
        self._filled = asyncio.Event()
        self._failed: PublishError | None = None
        self.acknowledged = self.arrays = 0

    def take(self, ballots: Sequence[bytes]) -> asyncio.Future[None]:
        """Take votes to send; give what is done when all of them are acknowledged."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._failed is not None:
            told.set_exception(self._failed)
            return told
        self._waiting.extend(ballots)
        self._taken += len(ballots)
        self._told.append((self._taken, told))
        self._filled.set()
        return told

    async def run(self) -> None:
        """Send for ever, until something is not acknowledged."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        try:
            async with aiohttp.ClientSession(headers=self._headers, timeout=timeout) as session:
                while True:
                    await self._filled.wait()
                    await self._send(session)
        except PublishError as error:
            self._fail(error)
        except Exception as error:
            self._fail(PublishError(f"a bug in sending: {error!r}"))  # else whoever waits would wait for ever
            raise

    async def _send(self, session: aiohttp.ClientSession) -> None:
        while self._waiting:
            if len(self._waiting) < MAX_VOTES:
                await asyncio.sleep(COLLECT_S)
            ballots = [self._waiting.popleft() for _ in range(min(MAX_VOTES, len(self._waiting)))]
            await _until_taken(session, self._url, ballots)
            self.acknowledged += len(ballots)
            self.arrays += 1
            while self._told and self._told[0][0] <= self.acknowledged:
                self._told.popleft()[1].set_result(None)
        self._filled.clear()

    def _fail(self, error: PublishError) -> None:
        """Tell the first who waits; the others wait behind it, and are let go."""
        self._failed = error
        for index, (_, told) in enumerate(self._told):
            if index:
                told.cancel()
            else:
                told.set_exception(error)


async def _until_taken(session: aiohttp.ClientSession, url: str, ballots: Sequence[bytes]) -> None:
    """Send an array until it is acknowledged.

    Raises:
        PublishError: it was refused, or had no answer. Then nobody knows what of it is in the log.
    """
    body, until = b"[" + b",".join(ballots) + b"]", time.monotonic() + PATIENCE_S
    while True:
        try:
            async with session.post(url, data=body) as answer:
                status, told = answer.status, object_in(await answer.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PublishError(f"the edge did not answer to {len(ballots)} votes: {error!r}") from error
        if status == 202 and told.get("accepted") == len(ballots):
            return
        kind = str(told.get("type")).rpartition(":")[2]
        if kind not in _NOTHING_TAKEN or time.monotonic() > until:
            raise PublishError(f"the edge did not take {len(ballots)} votes: {status} {told}")
        await asyncio.sleep(told.get("retry_after_ms", 1000 * AGAIN_S) / 1000)


def _encoded(vote: Vote) -> bytes:
    return msgspec.json.encode(_Forwarded(vote.vote_id, vote.option_id, vote.voter_id, vote.channel, vote.cast_at))


async def _all(told: Sequence[Awaitable[None]]) -> None:
    await asyncio.gather(*told)
