"""Which polls are open, as far as an edge knows: read from the ledgers, some times a second.

It is a courtesy to viewers, not the rule: the log decides what counts. So an edge that cannot read lets votes pass, with what
it knew last; one that is not sure to know all polls, because the tally is behind, lets votes for unknown ones pass; and a
vote that it lets pass in the moment of the close may still be late.
"""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from pipeline import metrics
from pipeline.clock import now_ms
from pipeline.domain.poll import Poll, PollId, Status
from pipeline.edge.tokens import REVOKED_KEY, Tokens
from pipeline.errors import UnavailableError
from pipeline.ledger.connection import unavailable_if_down
from pipeline.ledger.keys import Keys
from pipeline.ledger.ledger import read_poll
from pipeline.ledger.reader import LedgerReader
from pipeline.log.offsets import LogOffsets
from pipeline.settings import Settings
from pipeline.web.problems import ProblemError

LOOK_EVERY_S = 0.25
CURRENT_MS = 3_000  # what was known then is good enough to say that there is no such poll
REMIND_EVERY = 240  # failures in a row: about a minute

log = structlog.get_logger(__name__)


class Polls:
    """The polls that were seen so far. What was once seen is not forgotten when Redis loses it."""

    def __init__(self) -> None:
        self._polls: dict[PollId, Poll] = {}
        self.as_of_ms = 0  # all markers that were in the log then are known

    def learn(self, poll: Poll) -> None:
        """Take what a partition knows of a poll. The partition that is furthest decides."""
        known = self._polls.get(poll.id)
        if known is None or poll.final or (poll.closed_at is not None and not known.final):
            self._polls[poll.id] = poll

    def unfinished(self) -> list[PollId]:
        """Name the polls that may still change."""
        return [name for name, poll in self._polls.items() if poll.status is not Status.FINAL]

    def check(self, poll_id: PollId, option_id: str, cast_at: int, now: int) -> None:
        """Make sure, now, that a vote cast at some instant (ms since the epoch) may count.

        Raises:
            ProblemError: no such poll (404) or option (422), or the vote is outside the poll's time (409).
        """
        poll = self._polls.get(poll_id)
        if poll is None:
            if now < self.as_of_ms + CURRENT_MS:
                raise ProblemError(
                    HTTPStatus.NOT_FOUND, f"there is no poll {'/'.join(poll_id)}, or not yet", kind="unknown-poll"
                )
            return
        if cast_at >= poll.ends_at:
            closed = {} if poll.closed_at is None else {"closed_at": poll.closed_at}
            raise ProblemError(
                HTTPStatus.CONFLICT, f"the poll {'/'.join(poll_id)} is closed", kind="poll-closed", members=closed
            )
        if cast_at < poll.rules.opened_at:
            opened = {"opened_at": poll.rules.opened_at}
            raise ProblemError(
                HTTPStatus.CONFLICT,
                f"the poll {'/'.join(poll_id)} is not open yet",
                kind="poll-not-open",
                members=opened,
            )
        if option_id not in poll.option_ids:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"option_id {option_id!r} is not an option of {'/'.join(poll_id)}",
                kind="unknown-option",
            )


class Watch:
    """Reads polls and revoked tokens from Redis, again and again."""

    def __init__(self, client: Redis, offsets: LogOffsets, settings: Settings, polls: Polls, tokens: Tokens) -> None:
        self._client, self._offsets, self._polls, self._tokens = client, offsets, polls, tokens
        self._wanted: tuple[int, Mapping[int, int]] | None = None  # an instant, and where the log ended then
        self._asking: asyncio.Task[None] | None = None  # for that
        self._keys = [Keys(settings.topic, partition) for partition in range(settings.partitions)]
        self._ledgers = LedgerReader(client, settings.topic, range(settings.partitions))
        self._seen: tuple[int, ...] = ()  # how many polls each partition knew

    async def begin(self) -> None:
        """Look as often as it takes to know all polls: until then whoever votes in one that is unknown is let pass.

        Raises:
            UnavailableError: Redis does not answer.
        """
        await self.look()
        if self._asking is not None:
            await self._asking
        await self.look()

    async def run(self) -> None:
        """Look for ever. That Redis is away, or does not let us, is noted, and is no reason not to take votes."""
        failed = 0
        while True:
            try:
                await self.look()
                failed = 0
            except (UnavailableError, RedisError) as error:
                failed += 1
                metrics.RETRIES.labels("redis").inc()
                if failed == 1 or failed % REMIND_EVERY == 0:
                    log.warning("polls are as they were known last", error=str(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Look once.

        Raises:
            UnavailableError: Redis does not answer.
        """
        with unavailable_if_down():
            # By itself, and first: it is there also while the ledgers of some partitions are not.
            revoked: Any = await self._client.smembers(REVOKED_KEY)
            self._tokens.refuse({name.decode() for name in revoked})
            async with self._client.pipeline(transaction=False) as pipe:
                for keys in self._keys:
                    pipe.scard(keys.polls)
                    pipe.hget(keys.head, "next_offset")
                answers = await pipe.execute()
        seen, next_offsets = answers[0::2], answers[1::2]
        names = self._polls.unfinished()
        if tuple(seen) != self._seen:
            names = await self._ledgers.polls()
        await self._read(names)
        self._seen = tuple(seen)
        self._date([int(next_offset or 0) for next_offset in next_offsets])

    def _date(self, next_offsets: Sequence[int]) -> None:
        """Find out as of when all polls are known: the tally has folded what the log had then."""
        if self._wanted is not None:
            asked_at, ends = self._wanted
            if all(next_offsets[partition] >= end for partition, end in ends.items()):
                self._polls.as_of_ms, self._wanted = asked_at, None
        elif self._asking is None or self._asking.done():  # Kafka may take its time: nothing else waits for it
            self._asking = asyncio.create_task(self._ask_end())

    async def _ask_end(self) -> None:
        asked_at = now_ms()
        try:
            self._wanted = (asked_at, await self._offsets.end())
        except UnavailableError:
            metrics.RETRIES.labels("kafka").inc()

    async def _read(self, names: list[PollId]) -> None:
        if not names:
            return
        with unavailable_if_down():
            async with self._client.pipeline(transaction=False) as pipe:
                for name in names:
                    for keys in self._keys:
                        pipe.hmget(keys.poll(name), ["rules", "state"])
                answers = await pipe.execute()
        for rules, state in answers:
            if rules is not None:
                self._polls.learn(read_poll([rules, state]))
