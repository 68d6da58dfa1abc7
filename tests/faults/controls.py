"""Negative controls: the real services with one part taken out, in which the campaign must find fault.

`python -m tests.faults.controls NAME` runs in the place of a worker. What is taken out:

- `second-tally`: nothing is taken out, but it is in a consumer group of its own, as if the group had let two workers have
  every partition.
- `no-fence`: the script applies a chunk wherever it begins.
- `offset-apart`: the script adds a chunk's effect, and a second command moves the next offset.
- `no-question`: after an insert without an answer the archive inserts again, and does not ask what has arrived. No token
  stops it: each attempt has one of its own.
- `hasty-edge`: a viewer is told that the vote is safe as soon as the edge has it, before Kafka has.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from pipeline.archive.app import Archive
from pipeline.archive.app import build as build_archive
from pipeline.archive.buffer import FlushPolicy
from pipeline.archive.flush import Flush
from pipeline.archive.store import ArchiveStore
from pipeline.domain.fold import Chunk
from pipeline.domain.partition import Answer
from pipeline.domain.record import Vote
from pipeline.edge import service as edge_service
from pipeline.edge.publisher import VotePublisher
from pipeline.ledger import ledger
from pipeline.ledger.connection import connect, unavailable_if_down
from pipeline.ledger.keys import Keys
from pipeline.ledger.ledger import Ledger, Reply
from pipeline.log.app import AppLog, make_app, run_app
from pipeline.log.lanes import Settled
from pipeline.log.offsets import LogOffsets
from pipeline.service import measured, serving
from pipeline.settings import Settings, load
from pipeline.tally import app as tally_app
from tests.faults.workers import stand_in as command

SECOND = "second-tally"  # a consumer group that nobody else is in

_HEAD = """redis.call('HSET', KEYS[1], 'next_offset', string.format('%.0f', chunk.next_offset),
  'clock_ms',"""


def bent(*bends: tuple[str, str]) -> str:
    """Give the script with some of its text replaced.

    Raises:
        ValueError: a text is not in it exactly once: the script has changed, and so must its controls.
    """
    script = ledger._APPLY
    for text, instead in bends:
        if script.count(text) != 1:
            raise ValueError(f"apply.lua has {text!r} {script.count(text)} times")
        script = script.replace(text, instead)
    return script


class UnfencedLedger(Ledger):
    """Takes a chunk for applied wherever it begins."""

    def __init__(self, client: Redis, topic: str) -> None:
        super().__init__(client, topic)
        self._apply = client.register_script(
            bent(
                ("if chunk.next_offset <= next_offset then", "if false then"),
                ("if chunk.first_offset ~= next_offset then", "if false then"),
            )
        )


class TwoStepLedger(Ledger):
    """Adds the effect in one step, and moves the offset in another."""

    def __init__(self, client: Redis, topic: str) -> None:
        super().__init__(client, topic)
        self._apply = client.register_script(bent((_HEAD, "redis.call('HSET', KEYS[1], 'clock_ms',")))

    async def apply(self, chunk: Chunk) -> Reply:
        reply = await super().apply(chunk)
        if reply.answer is Answer.APPLIED:
            with unavailable_if_down():
                await self._client.hset(Keys(self._topic, chunk.partition).head, "next_offset", str(chunk.next_offset))
        return reply


class UnaskingStore(ArchiveStore):
    """Inserts again without asking. Each attempt has a token of its own, so that none of them stands in its way."""

    async def holds(self, flush: Flush) -> bool:  # noqa: ARG002
        return False


class HastyPublisher(VotePublisher):
    """Takes a vote for acknowledged when it has it."""

    def submit(self, votes: Sequence[Vote], settled: Settled) -> None:
        super().submit(votes, lambda _error: None)
        asyncio.get_running_loop().call_soon(settled, None)


async def run_tally(settings: Settings, kind: type[Ledger] = Ledger, *, group: str = "tally") -> None:
    """Run what `airtally tally` runs, with another ledger, or in another consumer group: then it has every partition."""
    client = connect(settings)
    tally_app.make_app = lambda settings, service: make_app(settings, group)  # type: ignore[attr-defined]  # noqa: ARG005
    try:
        async with serving(settings, "tally", 0) as health, LogOffsets(settings) as offsets:
            app, tally = tally_app.build(settings, offsets, kind(client, settings.topic), health)
            async with measured(tally.measure):
                await run_app(app)
            await tally.close()
    finally:
        await client.aclose()


async def run_archive(settings: Settings, store: ArchiveStore) -> None:
    """Run what `airtally archive` runs, with another store."""
    async with serving(settings, "archive", 0) as health, LogOffsets(settings) as offsets:
        app = make_app(settings, "archive")
        source = AppLog(app, settings.topic, offsets)
        archive = Archive(app, settings, store, source, health, FlushPolicy())
        build_archive(app, settings, archive)
        async with measured(archive.measure):
            await run_app(app)
        await archive.close()
    await store.close()


async def run_edge(settings: Settings, publisher: type[VotePublisher]) -> None:
    """Run what `airtally edge` runs, with another publisher."""
    edge_service.VotePublisher = publisher  # type: ignore[attr-defined]
    await edge_service.run(settings)


Run = Callable[[Settings], Coroutine[Any, Any, None]]

RUNS: Mapping[str, Run] = {
    "second-tally": lambda found: run_tally(found, group=SECOND),
    "no-fence": lambda found: run_tally(found, UnfencedLedger),
    "no-fence-second": lambda found: run_tally(found, UnfencedLedger, group=SECOND),
    "offset-apart": lambda found: run_tally(found, TwoStepLedger),
    "no-question": lambda found: run_archive(found, UnaskingStore(found)),
    "hasty-edge": lambda found: run_edge(found, HastyPublisher),
}


@dataclass(frozen=True)
class Control:
    """What stands in for which service, and the fault under which that must show."""

    fault: str
    stand_ins: Mapping[str, str]

    @property
    def workers(self) -> dict[str, tuple[str, ...]]:
        """Give the commands that stand in for services."""
        return {service: command(name) for service, name in self.stand_ins.items()}


CONTROLS = {
    "no-fence": Control("tally: two owners, one killed", {"tally": "no-fence", "second-tally": "no-fence-second"}),
    "offset-apart": Control("Redis: replies cut", {"tally": "offset-apart"}),
    "no-question": Control("ClickHouse: replies cut", {"archive": "no-question"}),
    "hasty-edge": Control("edge: killed in mid request", {"edge": "hasty-edge"}),
}


def main(name: str) -> None:
    """Run a stand-in until it is told to stop."""
    asyncio.run(RUNS[name](load()))


if __name__ == "__main__":
    main(sys.argv[1])
