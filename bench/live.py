"""How old what is shown is: `python -m bench.live --rate 20000 --seconds 20` and `python -m bench.live --readers 5000`.

The age of a vote on the air is taken on one clock, from Kafka's acknowledgement to the first event of a stream that was built
from an offset after it. With readers, the age of an event is that of its version, which is the time of its look at the ledgers.
Broker, Redis, workers, publisher and readers share the machine.
"""

import array
import asyncio
import multiprocessing
import statistics
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
import psutil
import typer

from bench.measuring import console, report, settings_of, system, until, usage, workload
from pipeline.clock import now_ms
from pipeline.descriptors import allow_descriptors
from pipeline.domain.poll import PollId
from pipeline.domain.record import Vote, encode
from pipeline.local.ports import free_port
from pipeline.local.stack import LocalStack, Part, Service
from pipeline.log.publisher import Publisher
from pipeline.log.topics import open_topics
from pipeline.settings import Settings
from pipeline.show.player import Player
from pipeline.show.script import Popularity, Script

POLL = PollId("bench", "poll")
PROBE_EVERY_S = 0.037  # not in step with the merges
SETTLE_S = 2.0
CONNECT_AT_ONCE = 100
DRAIN_S = 60.0


@dataclass
class Measured:
    """What a run has seen; times are seconds of the wall clock."""

    acknowledged: list[tuple[float, int, int]] = field(default_factory=list)  # when, partition, offset
    events: list[tuple[float, float, Sequence[int]]] = field(default_factory=list)  # when, look begun, next offsets
    last_total: int = 0

    def ages_ms(self) -> list[tuple[float, float]]:
        """Give for each probe its age at the first look at the ledgers that found it, and when that look was seen."""
        ages = []
        for at, partition, offset in self.acknowledged:
            seen = next(((when, begun) for when, begun, offsets in self.events if offsets[partition] > offset), None)
            if seen is not None:
                ages.append((1000 * max(0.0, seen[1] - at), 1000 * max(0.0, seen[0] - at)))
        return ages


def main(rate: int = 20_000, seconds: float = 20.0, readers: int = 1, partitions: int = 12, options: int = 10) -> None:
    """Publish at a rate and watch the stream, with one reader or with thousands."""
    with system(Part.KAFKA, Part.REDIS) as stack:
        found = settings_of(stack, "bench-live", partitions=partitions)
        row = asyncio.run(_run(stack, found, _script(rate, seconds, options), readers))
    report("live" if readers == 1 else "live-readers", [row], {"wanted_votes_per_s": rate, "options": options})


def _script(rate: int, seconds: float, options: int) -> Script:
    choices = tuple(Popularity(f"option-{number}", 1 + number % 5, f"Option {number}") for number in range(options))
    return replace(workload(round(rate * seconds), rate), options=choices)


async def _run(stack: LocalStack, found: Settings, script: Script, readers: int) -> dict[str, Any]:
    opened_at = now_ms()
    async with open_topics(found) as topics:
        await topics.create()
    async with Publisher(found) as publisher:
        await publisher.publish_marker(script.opened(opened_at))
    port = free_port()
    await asyncio.to_thread(stack.start_service, _service("tally", found, 0))
    child = await asyncio.to_thread(stack.start_service, _service("live", found, port))
    url = f"http://127.0.0.1:{port}/v1/shows/{POLL.show_id}/polls/{POLL.poll_id}"
    await _until_served(url)
    process = psutil.Process(child.identity.pid)
    memory_before = process.memory_info().rss
    pool = multiprocessing.get_context("spawn").Pool(2)
    with pool:
        crowd = pool.apply_async(_crowd, (url, readers - 1, script.duration_s)) if readers > 1 else None
        if crowd is not None:
            await asyncio.sleep(2 + readers / 400)  # until all are connected
        memory_after, cpu_before, began = process.memory_info().rss, usage(child.identity.pid).cpu_s, time.monotonic()
        playing = pool.apply_async(_publish, (found, script, opened_at))
        measured = await _measure(found, url, script, playing)
        cpu_s, took_s = usage(child.identity.pid).cpu_s - cpu_before, time.monotonic() - began
        ages = measured.ages_ms()
        row = {
            "votes_per_s": script.records / playing.get()[1],
            "probes": len(ages),
            **_quantiles("ms_to_look", [age[0] for age in ages]),
            **_quantiles("ms_to_reader", [age[1] for age in ages]),
            "events_per_s": len(measured.events) / took_s,
            "live_cores": cpu_s / took_s,
            "live_peak_mb": usage(child.identity.pid).peak_mb,
        }
        if crowd is not None:
            row |= {"readers": readers, **crowd.get(120)}
            row["kb_per_reader"] = (memory_after - memory_before) / readers / 1e3
    return row


def _service(name: str, found: Settings, live_port: int) -> Service:
    port = free_port()
    return Service(
        name,
        [sys.executable, "-m", "pipeline.cli", name],
        ready_url=f"http://127.0.0.1:{port}/readyz",
        env={
            "AIRTALLY_TOPIC": found.topic,
            "AIRTALLY_PARTITIONS": str(found.partitions),
            "AIRTALLY_HEALTH_PORT": str(port),
            "AIRTALLY_LIVE_PORT": str(live_port),
        },
    )


async def _until_served(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(300):
            async with session.get(url) as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.1)
    raise SystemExit("the poll was not served within 30 s")


def _publish(found: Settings, script: Script, opened_at: int) -> tuple[int, float]:
    """Play the script; give the votes that must count, and the seconds that it took."""

    async def publish() -> tuple[int, float]:
        async with Publisher(found) as publisher:
            began = time.monotonic()
            expected = await Player(script, 1, publisher).play(opened_at=opened_at, closes=False)
            return sum(expected.totals.values()), time.monotonic() - began

    return asyncio.run(publish())


async def _measure(found: Settings, url: str, script: Script, playing: Any) -> Measured:
    """Send probes while the votes come, and see that all of both arrive."""
    measured = Measured()
    watching = asyncio.create_task(_watch(url, measured))
    async with Publisher(found, linger_ms=0) as publisher:
        await asyncio.sleep(SETTLE_S)
        while not playing.ready():
            voter = uuid.uuid4().hex
            option = script.options[0].option_id
            vote = Vote(str(uuid.uuid4()), *POLL, option, voter, now_ms(), "edge-1", "web")
            partition, offset = await publisher.publish(voter.encode(), encode(vote))
            measured.acknowledged.append((time.time(), partition, offset))
            await asyncio.sleep(PROBE_EVERY_S)
    wanted = playing.get()[0] + len(measured.acknowledged)

    async def arrived() -> bool:
        return bool(measured.last_total >= wanted)

    await until(arrived, "all of it on the air", DRAIN_S)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    if measured.last_total != wanted:
        raise SystemExit(f"WRONG: {measured.last_total} on the air, {wanted} were to be counted")
    return measured


async def _watch(url: str, measured: Measured) -> None:
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url}/events") as answer:
        async for line in answer.content:
            if line.startswith(b'data: {"version"'):
                at, content = time.time(), orjson.loads(line[6:])
                measured.events.append((at, content["as_of"] / 1000, content["next_offsets"]))
                measured.last_total = content["total"]


class _Reader(asyncio.Protocol):
    """One of a crowd: notes the age of each event, and looks at nothing else."""

    def __init__(self, request: bytes, ages: "array.array[float]") -> None:
        self._request, self._ages = request, ages

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, content: bytes) -> None:
        start = content.find(b"id: ")
        version = content[start + 4 : content.find(b"\n", start)] if start >= 0 else b""
        if len(version) == 13:
            self._ages.append(time.time() * 1000 - int(version))


def _crowd(url: str, readers: int, seconds: float) -> dict[str, float]:
    """Read as many streams, in a process of its own."""
    allow_descriptors(readers)
    where = urlsplit(url)
    request = f"GET {where.path}/events HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode()

    async def read() -> dict[str, float]:
        ages = array.array("d")
        loop = asyncio.get_running_loop()

        async def one() -> None:
            await loop.create_connection(lambda: _Reader(request, ages), where.hostname or "", where.port or 0)

        for first in range(0, readers, CONNECT_AT_ONCE):
            await asyncio.gather(*[one() for _ in range(min(CONNECT_AT_ONCE, readers - first))])
        await asyncio.sleep(2 + readers / 400)
        del ages[:]
        await asyncio.sleep(seconds)
        return {**_quantiles("delivery_ms", ages), "events_per_reader_s": len(ages) / readers / seconds}

    return asyncio.run(read())


def _quantiles(name: str, numbers: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(numbers, n=100)
    return {f"{name}_p50": cuts[49], f"{name}_p99": cuts[98], f"{name}_max": max(numbers)}


if __name__ == "__main__":
    console.print("measuring", highlight=False)
    typer.run(main)
