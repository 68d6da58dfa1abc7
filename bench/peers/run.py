"""One run of one peer on one log: how fast, at what cost, and is the answer right?"""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import psutil
from redis.asyncio import Redis

from bench.measuring import usage, worker
from bench.peers.roster import Command, Peer
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import PollId
from pipeline.domain.result import merge
from pipeline.ledger.connection import connect
from pipeline.ledger.reader import LedgerReader
from pipeline.local.process import Child, tail
from pipeline.local.stack import LocalStack, Service
from pipeline.settings import Settings
from pipeline.show.expectation import MARKER, Expectation

START_S = 120.0
STALLED_S = 90.0  # without a single vote more, it is given up
SAMPLE_EVERY_S = 0.05


@dataclass(frozen=True)
class Run:
    """What was seen of one run. Rate and CPU are those between the first result in Redis and the last."""

    votes_per_s: float
    from_start_s: float
    cpu_s_before: float  # of the worker, before the first result: an engine's start
    cpu_s_per_million: dict[str, float]  # worker, redis, kafka
    peak_mb: float
    wrong: list[str]  # where the answer differs from the oracle; nothing: it is right


class FailedError(Exception):
    """A peer ended, stalled, or never began; the text holds the end of its log."""


class Answer(Protocol):
    """How to read what a peer says."""

    async def votes(self) -> int:
        """Give how many votes its result includes."""

    async def read(self, polls: Sequence[PollId]) -> list[Expectation]:
        """Read the result of each poll, in the oracle's form."""


class PeerAnswer:
    """A peer's result: the hashes `tally:SHARD`."""

    def __init__(self, client: Redis, shards: int) -> None:
        self._client, self._keys = client, [f"tally:{shard}" for shard in range(shards)]

    async def _numbers(self) -> Counter[str]:
        async with self._client.pipeline(transaction=False) as pipe:
            for key in self._keys:
                pipe.hgetall(key)
            answers = await pipe.execute()
        numbers: Counter[str] = Counter()
        for fields in answers:
            numbers.update({name.decode(): int(number) for name, number in fields.items()})
        return numbers

    async def votes(self) -> int:
        """Add up everything."""
        return (await self._numbers()).total()

    async def read(self, polls: Sequence[PollId]) -> list[Expectation]:
        """Read cells and outcomes of the only poll."""
        (poll,) = polls
        says, numbers = Expectation(*poll), await self._numbers()
        for outcome in (Outcome.DUPLICATE, Outcome.OVER_LIMIT):
            says.poll_outcomes[outcome] = numbers.pop(outcome, 0)
        says.poll_outcomes[Outcome.COUNTED] = numbers.total()
        for cell, votes in numbers.items():
            second, _, option_id = cell.partition("/")
            says.cells[int(second), option_id] = votes
        return [says]


class LedgerAnswer:
    """Airtally's result: the ledgers."""

    def __init__(self, client: Redis, found: Settings) -> None:
        self._reader = LedgerReader(client, found.topic, range(found.partitions))

    async def votes(self) -> int:
        """Add up what is folded, but for the markers."""
        heads = await self._reader.heads()
        return sum(head.next_offset - head.outcomes.get(Outcome.MARKER, 0) for head in heads)

    async def read(self, polls: Sequence[PollId]) -> list[Expectation]:
        """Merge the ledgers."""
        return [await self._read(poll) for poll in polls]

    async def _read(self, poll: PollId) -> Expectation:
        result = merge(poll, await self._reader.read(poll))
        says = Expectation(*poll)
        if result is not None:
            says.poll_outcomes.update(result.outcomes)
            says.cells.update({(cell.window_start, cell.option_id): votes for cell, votes in result.windows.items()})
        return says


async def measure(  # noqa: PLR0913, PLR0917  # a run has this many parts
    stack: LocalStack,
    found: Settings,
    peer: Peer,
    command: Command,
    expected: Sequence[Expectation],
    votes_per_voter: int,
) -> Run:
    """Run a peer from nothing to all votes of all polls in Redis. Only Airtally knows of several polls.

    Raises:
        FailedError: it did not get there.
    """
    client = connect(found)
    await client.flushall()
    ours = peer.name.startswith("airtally")
    answer: Answer = LedgerAnswer(client, found) if ours else PeerAnswer(client, found.partitions)
    with tempfile.TemporaryDirectory(prefix="airtally-peer-") as state:
        services = [
            replace(worker("tally", found), argv=list(command.argv))
            if ours
            else _service(peer, command, found, state, votes_per_voter)
            for _ in range(peer.workers)
        ]
        started = time.monotonic()
        children = [await asyncio.to_thread(stack.start_service, service) for service in services]
        try:
            watched = _Watched(stack, children)
            votes = sum(each.records - each.outcomes[MARKER.outcome] for each in expected)
            run = await _watch(watched, answer.votes, votes, started)
            wrong = await _wrong(answer, peer, expected)
        finally:
            for child in children:
                await asyncio.to_thread(child.stop)
            await client.aclose()
    return Run(*run, wrong)


def _service(peer: Peer, command: Command, found: Settings, state: str, votes_per_voter: int) -> Service:
    return Service(
        f"{peer.name}-{found.topic}",
        list(command.argv),
        env={
            "PEER_KAFKA": found.kafka or "",
            "PEER_TOPIC": found.topic,
            "PEER_PARTITIONS": str(found.partitions),
            "PEER_GROUP": f"{peer.name}-{found.topic}",
            "PEER_REDIS_URL": found.redis_url or "",
            "PEER_STATE": state,
            "PEER_VOTES_PER_VOTER": str(votes_per_voter),
            **command.env,
        },
    )


class _Watched:
    """The processes of a run, seen from outside."""

    def __init__(self, stack: LocalStack, children: list[Child]) -> None:
        self.children = children
        self._servers = {name: stack.children[name].identity.pid for name in ("redis", "kafka")}

    def cpu_s(self) -> dict[str, float]:
        return {
            "worker": sum(usage(pid).cpu_s for pid in self._workers()),
            **{name: usage(pid).cpu_s for name, pid in self._servers.items()},
        }

    def peak_mb(self) -> float:
        return sum(usage(pid).peak_mb for pid in self._workers())

    def check(self) -> None:
        for child in self.children:
            if not child.alive:
                raise FailedError(f"it has ended. {tail(child.launch.log_file)}")

    def _workers(self) -> list[int]:
        pids = []
        for child in self.children:
            pids.append(child.identity.pid)
            pids += [each.pid for each in psutil.Process(child.identity.pid).children(recursive=True)]
        return pids


async def _watch(
    watched: _Watched, votes: Callable[[], Awaitable[int]], wanted: int, started: float
) -> tuple[float, float, float, dict[str, float], float]:
    """Wait for the first and for the last result; give what a ``Run`` holds, but for the answer."""
    first = await _reached(watched, votes, 1, START_S)
    cpu_first, head_start = watched.cpu_s(), await votes()
    last = await _reached(watched, votes, wanted, STALLED_S)
    cpu_last = watched.cpu_s()
    counted = wanted - head_start
    cost = {name: (cpu_last[name] - cpu_first[name]) / counted * 1e6 for name in cpu_last}
    return counted / (last - first), last - started, cpu_first["worker"], cost, watched.peak_mb()


async def _reached(watched: _Watched, votes: Callable[[], Awaitable[int]], wanted: int, stalled_s: float) -> float:
    """Wait until so many votes are in Redis; give when (monotonic)."""
    seen, seen_at = 0, time.monotonic()
    while True:
        now, there = time.monotonic(), await votes()
        if there >= wanted:
            return now
        if there > seen:
            seen, seen_at = there, now
        if now - seen_at > stalled_s:
            raise FailedError(
                f"{there} of {wanted} votes, and none more in {stalled_s:.0f} s. {tail(watched.children[0].launch.log_file)}"
            )
        watched.check()
        await asyncio.sleep(SAMPLE_EVERY_S)


async def _wrong(answer: Answer, peer: Peer, expected: Sequence[Expectation]) -> list[str]:
    """Compare with the oracle: each cell, and how many votes were repeats and past the limit."""
    lines = []
    says = await answer.read([PollId(each.show_id, each.poll_id) for each in expected])
    for each, found in zip(expected, says, strict=True):
        if peer.dedupes:
            wanted = Expectation(each.show_id, each.poll_id, Counter(), each.poll_outcomes, each.cells)
            lines += wanted.differences(found)
        elif each.poll_outcomes.total() != found.poll_outcomes.total():
            lines.append(f"votes: expected {each.poll_outcomes.total()}, found {found.poll_outcomes.total()}")
    return lines
