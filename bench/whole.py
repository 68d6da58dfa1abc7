"""The whole system: `python -m bench.whole --rate 50000 --seconds 300 --burst-rate 250000 --burst-seconds 5`.

Publisher, broker, Redis, ClickHouse, tally, archive and live share the machine. First a steady rate: is the lag bounded, how
long from the broker's append to the ledger, what does each part cost? Then, without a pause, a burst: how far behind, how long
until nothing waits? Publishers are processes of their own; a burst's batches are made before they are sent: making them takes
longer, and is what edges on other machines would do. At the end ledgers and recount must both be what the oracle says.
"""

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import typer

from bench.charts import lines
from bench.measuring import OUT, console, report, settings_of, system, usage, worker, workload
from bench.sending import send
from bench.watching import Sample, Watch, quantile
from pipeline.archive.migrate import migrate
from pipeline.archive.recount import recount
from pipeline.clock import now_ms
from pipeline.domain.poll import PollId
from pipeline.domain.result import merge
from pipeline.ledger.reader import open_ledgers
from pipeline.local.ports import free_port
from pipeline.local.stack import ALL_PARTS, LocalStack, Service
from pipeline.log.offsets import LogOffsets
from pipeline.log.publisher import Publisher
from pipeline.log.topics import open_topics
from pipeline.settings import Settings
from pipeline.show.expectation import MARKER, Expectation
from pipeline.show.generator import Generator
from pipeline.show.player import Player
from pipeline.show.script import Script

POLL = PollId("bench", "poll")
SERVICES = ("tally", "archive", "live")
APPEND_TO_APPLIED = "airtally_tally_append_to_applied_seconds"
PREPARED_PER_S = 40_000  # votes of a burst are made at least so fast, beforehand
START_S = 5.0  # for the publishers' processes
SETTLE_S = 3.0  # of the steady part, left out of its figures
DRAIN_S = 600.0
RUSH_TICK_MS = 40  # of 250,000 votes/s: batches of some 800, as edges' are when much is on its way
UNACKNOWLEDGED = 32  # ticks of a burst


class Published(NamedTuple):
    """What a publisher has done; instants are monotonic."""

    expected: bytes
    began_s: float
    ended_s: float
    cpu_s: float


def main(
    rate: int = 50_000,
    seconds: float = 60.0,
    burst_rate: int = 250_000,
    burst_seconds: float = 5.0,
    partitions: int = 12,
) -> None:
    """Publish, watch, check the answer of both views, and draw what was seen."""
    steady = workload(round(rate * seconds), rate)
    burst = replace(workload(round(burst_rate * burst_seconds), burst_rate), tick_ms=RUSH_TICK_MS)
    with system(*ALL_PARTS) as stack:
        found = settings_of(stack, "bench-whole", partitions=partitions)
        migrate(found)
        row = asyncio.run(_run(stack, found, steady, burst))
    report("whole", [row], {"wanted": f"{rate}/s for {seconds} s, then {burst_rate}/s for {burst_seconds} s"})


async def _run(stack: LocalStack, found: Settings, steady: Script, burst: Script) -> dict[str, Any]:
    opened_at = now_ms()
    async with open_topics(found) as topics:
        await topics.create()
    async with Publisher(found) as publisher:
        await publisher.publish_marker(steady.opened(opened_at))
    services = {name: _service(name, found) for name in SERVICES}
    children = {name: await asyncio.to_thread(stack.start_service, each) for name, each in services.items()}
    pids = {name: stack.children[name].identity.pid for name in ("kafka", "redis", "clickhouse")}
    pids |= {name: child.identity.pid for name, child in children.items()}
    urls = {name: f"http://127.0.0.1:{each.env['AIRTALLY_HEALTH_PORT']}/metrics" for name, each in services.items()}
    start_at = time.time() + START_S + burst.records / PREPARED_PER_S
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        crowd = pool.apply_async(_publish, (found, steady, opened_at, start_at))
        rush = pool.apply_async(_rush, (found, burst, opened_at, start_at + steady.duration_s))
        async with LogOffsets(found) as offsets, open_ledgers(found) as reader:
            watch = Watch(found, reader, offsets, pids, urls)
            row, expected = await _watch(watch, crowd, rush, start_at, steady)
    await _check(found, expected)
    row |= {f"{name}_peak_mb": usage(pids[name]).peak_mb for name in SERVICES}
    _draw(watch.samples)
    return row


def _service(name: str, found: Settings) -> Service:
    service = worker(name, found, when_ready=True)
    return replace(service, env={**service.env, "AIRTALLY_LIVE_PORT": str(free_port())})


def _publish(found: Settings, script: Script, opened_at: int, start_at: float) -> Published:
    """Play the steady part, in a process of its own."""
    time.sleep(max(0.0, start_at - time.time()))
    began, cpu = time.monotonic(), time.process_time()

    async def publish() -> bytes:
        async with Publisher(found) as publisher:
            return (await Player(script, 100, publisher).play(opened_at=opened_at, closes=False)).to_json()

    return Published(asyncio.run(publish()), began, time.monotonic(), time.process_time() - cpu)


def _rush(found: Settings, script: Script, opened_at: int, start_at: float) -> Published:
    """Make the burst's batches of votes as they will be cast, wait for the instant, and send them, at most at the rate."""
    generator = Generator(script, 101, opened_at=opened_at)
    expected = generator.expectation()

    async def publish() -> tuple[float, float]:
        async with Publisher(found) as publisher:
            ticks = []
            for tick in range(script.ticks):
                block = generator.tick(int(1000 * start_at) + tick * script.tick_ms)
                expected.add(block)  # a publish that is not acknowledged raises, and then nothing is reported
                ticks.append(publisher.prepare(zip(block.keys, block.values, strict=True)))
            if time.time() > start_at:
                raise RuntimeError("the burst's votes were not ready in time: the machine is too busy")
            await asyncio.sleep(start_at - time.time())
            began, cpu = time.monotonic(), time.process_time()
            due = [tick * script.tick_ms / 1000 for tick in range(script.ticks)]
            await send(publisher, zip(due, ticks, strict=True), most_unacknowledged=UNACKNOWLEDGED)
            return began, cpu

    began, cpu = asyncio.run(publish())
    return Published(expected.to_json(), began, time.monotonic(), time.process_time() - cpu)


async def _watch(
    watch: Watch, crowd: Any, rush: Any, start_at: float, steady: Script
) -> tuple[dict[str, Any], Expectation]:
    """See both parts through; give the figures, and what must have been counted."""
    await asyncio.sleep(max(0.0, start_at + SETTLE_S - time.time()))
    end_at = time.monotonic() + steady.duration_s - SETTLE_S
    metrics_before, first = await watch.metrics("tally"), len(watch.samples)
    await watch.until(lambda sample: sample.at_s >= end_at, steady.duration_s + 60, "the steady part")
    metrics_after, samples = await watch.metrics("tally"), watch.samples[first:]
    ran = len(watch.samples)
    await watch.until(lambda _: bool(crowd.ready() and rush.ready()), DRAIN_S, "all published")
    calm, burst = crowd.get(), rush.get()
    expected = Expectation(*POLL)
    for published in (calm, burst):
        expected.merge(Expectation.from_json(published.expected))
    expected.expect(MARKER, watch.found.partitions)
    burst_records = Expectation.from_json(burst.expected).records
    counted = await watch.until(lambda sample: sample.folded >= expected.records, DRAIN_S, "all counted")
    stored = await watch.until(lambda sample: sample.archived >= expected.records, DRAIN_S, "all stored")
    rushed = watch.samples[ran:]
    return {
        **_steady(samples, calm),
        "append_to_ledger_ms_p50": 1000 * quantile(metrics_before, metrics_after, APPEND_TO_APPLIED, 0.5),
        "append_to_ledger_ms_p99": 1000 * quantile(metrics_before, metrics_after, APPEND_TO_APPLIED, 0.99),
        "burst_published_per_s": burst_records / (burst.ended_s - burst.began_s),
        "burst_tally_lag_max": max(sample.tally_lag for sample in rushed),
        "burst_counted_after_s": max(0.0, counted.at_s - burst.ended_s),
        "burst_stored_after_s": max(0.0, stored.at_s - burst.ended_s),
        "burst_air_behind_max_s": max(sample.air_behind_s for sample in rushed),
    }, expected


def _steady(samples: Sequence[Sample], published: Published) -> dict[str, Any]:
    took_s = samples[-1].at_s - samples[0].at_s
    lags = {"tally": [each.tally_lag for each in samples], "archive": [each.archive_lag for each in samples]}
    cores = {name: (samples[-1].cpu_s[name] - samples[0].cpu_s[name]) / took_s for name in samples[0].cpu_s}
    return {
        "votes_per_s": (samples[-1].end - samples[0].end) / took_s,
        **{f"{name}_lag_p50": statistics.median(found) for name, found in lags.items()},
        **{f"{name}_lag_max": max(found) for name, found in lags.items()},
        "air_behind_s_p50": statistics.median(each.air_behind_s for each in samples),
        **{f"{name}_cores": used for name, used in cores.items()},
        "publisher_cores": published.cpu_s / (published.ended_s - published.began_s),
    }


async def _check(found: Settings, expected: Expectation) -> None:
    async with open_ledgers(found) as reader:
        read = merge(POLL, await reader.read(POLL))
    counted = await recount(found, POLL)
    ledgers = {option: votes for option, votes in read.totals.items() if votes} if read else {}
    if ledgers != expected.totals or counted.totals != expected.totals:
        raise SystemExit(f"WRONG: expected {expected.totals}, Redis {ledgers}, ClickHouse {counted.totals}")
    console.print("Redis and ClickHouse agree with the oracle", highlight=False)


def _draw(samples: Sequence[Sample]) -> None:
    start = samples[0].at_s
    at, pairs = [each.at_s - start for each in samples], list(pairwise(samples))
    between = at[1:]

    def per_s(of: str) -> list[float]:
        return [(getattr(b, of) - getattr(a, of)) / (b.at_s - a.at_s) for a, b in pairs]

    cores = {
        name: (between, [(b.cpu_s[name] - a.cpu_s[name]) / (b.at_s - a.at_s) for a, b in pairs])
        for name in samples[0].cpu_s
    }
    lines(
        OUT / "whole.svg",
        "seconds",
        {
            "votes per second": {"published": (between, per_s("end")), "counted": (between, per_s("folded"))},
            "records behind": {
                "tally": (at, [each.tally_lag for each in samples]),
                "archive": (at, [each.archive_lag for each in samples]),
            },
            "the air behind, seconds": {"": (at, [each.air_behind_s for each in samples])},
            "cores": cores,
        },
    )


if __name__ == "__main__":
    typer.run(main)
