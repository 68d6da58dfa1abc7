"""The queueing model against this machine: `python -m bench.model`. Told what a vote costs, it must say how long things take.

First what a vote costs is measured: CPU-seconds of publisher, broker, worker and Redis while a log is filled and then drained
by one worker. From these costs, and from how many cores are free, the model forecasts, and is compared with what was seen:

1. the rate at which that log was drained;
2. a burst, published while the worker counts: how many votes wait at its end, and how long until none does.

How many cores are free is what processes get that do nothing but spin: on a machine with other work, fewer than it has.
The costs are written as JSON, for `airtally plan --costs bench/out/model.json`.
"""

import asyncio
import multiprocessing
import time
from itertools import chain
from typing import Any

import psutil
import typer

from bench.crowd import Crowd, Oracle, Record, blocks
from bench.measuring import console, settings_of, system, usage, worker, write
from bench.peers.roster import PEERS
from bench.peers.run import Run, measure
from pipeline.capacity.costs import Costs
from pipeline.capacity.model import Deployment, Forecast, Peak, forecast
from pipeline.ledger.connection import connect
from pipeline.ledger.reader import LedgerReader, open_ledgers
from pipeline.local.stack import LocalStack, Part
from pipeline.log.publisher import Publisher, partition_of
from pipeline.log.topics import open_topics
from pipeline.settings import Settings
from pipeline.show.expectation import MARKER, Expectation

WARM_UP = 20_000  # records before the burst, so that it meets a worker at work
UNACKNOWLEDGED = 32  # blocks
DRAIN_S = 300.0
SPIN_S = 2.0
PARTITIONS = 12


def main(records: int = 1_000_000, burst_rate: int = 250_000, burst_seconds: float = 4.0) -> None:
    """Calibrate, forecast, measure, compare."""
    with system(Part.KAFKA, Part.REDIS) as stack:
        before = _free_cores()
        costs, drained = asyncio.run(
            _calibrate(stack, settings_of(stack, "model-drain", partitions=PARTITIONS), records)
        )
        between = _free_cores()
        crowd = Crowd(records=round(burst_rate * burst_seconds), voters=1_000_000)
        found = settings_of(stack, "model-burst", partitions=PARTITIONS)
        burst = asyncio.run(_burst(stack, found, crowd, burst_rate))
        after = _free_cores()
    console.print(f"free cores before, between and after: {before:.2f}, {between:.2f}, {after:.2f}", highlight=False)
    alone = Deployment(partitions=PARTITIONS, cores=(before + between) / 2)
    idle = forecast(costs, alone, Peak(votes_per_s=1, seconds=1))
    shared = Deployment(partitions=PARTITIONS, cores=(between + after) / 2)
    said = forecast(costs, shared, Peak(votes_per_s=burst["published_per_s"], seconds=burst["seconds"]))
    _report(costs, idle, said, drained, burst)


def _free_cores() -> float:
    """Give how many cores' worth of time as many spinning processes get as there are cores."""
    count = psutil.cpu_count() or 1
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        return float(sum(pool.map(_spin, [SPIN_S] * count, chunksize=1)))


def _spin(seconds: float) -> float:
    """Spin so long; give the cores that this got, at most one."""
    began, cpu = time.monotonic(), time.process_time()
    while time.monotonic() < began + seconds:
        pass
    return (time.process_time() - cpu) / (time.monotonic() - began)


async def _calibrate(stack: LocalStack, found: Settings, records: int) -> tuple[Costs, Run]:
    """Fill and drain a log; give what a vote cost, and the drain."""
    crowd = Crowd(records=records, voters=records)
    made, oracle = _make(crowd)
    broker = stack.children["kafka"].identity.pid
    async with Publisher(found) as publisher:
        await _open(found, publisher, crowd, oracle)
        ours, theirs = time.process_time(), usage(broker).cpu_s
        await _publish(publisher, made)
        publish_s = (time.process_time() - ours + usage(broker).cpu_s - theirs) / records
    airtally = next(peer for peer in PEERS if peer.name == "airtally")
    run = await measure(stack, found, airtally, airtally.command(), [oracle.expected], crowd.votes_per_voter)
    if run.wrong:
        raise SystemExit("\n".join(["WRONG: this drain counts for nothing", *run.wrong[:10]]))
    client = connect(found)
    memory = (await client.info("memory"))["used_memory"]
    await client.aclose()
    cost = {part: per_million / 1e6 for part, per_million in run.cpu_s_per_million.items()}
    log_bytes = sum(len(key) + len(value) for block in made for key, value in block) / records
    return Costs(
        publish_s=publish_s,
        broker_s=cost["kafka"],
        worker_s=cost["worker"],
        redis_s=cost["redis"],
        ledger_bytes=memory / oracle.expected.counted,
        log_bytes=log_bytes,
    ), run


async def _burst(stack: LocalStack, found: Settings, crowd: Crowd, rate: int) -> dict[str, float]:
    """Publish a burst while a worker counts; give rate, length, what waited at its end, and until when."""
    warm, warm_oracle = _make(Crowd(records=WARM_UP, voters=WARM_UP, seed=2))
    made, oracle = _make(crowd)
    async with Publisher(found) as publisher, open_ledgers(found) as reader:
        await _open(found, publisher, crowd, oracle)
        child = await asyncio.to_thread(stack.start_service, worker("tally", found, when_ready=True))
        markers = oracle.expected.outcomes[MARKER.outcome]
        await _publish(publisher, warm)
        await _folded(reader, markers + WARM_UP)
        began = time.monotonic()
        await _publish(publisher, made, rate)
        ended, backlog = time.monotonic(), markers + WARM_UP + crowd.records - await _count(reader)
        drained = await _folded(reader, markers + WARM_UP + crowd.records)
        says = Expectation("bench", "poll")
        for head in await reader.heads():
            says.outcomes.update(head.outcomes)
    await asyncio.to_thread(child.stop)
    oracle.expected.merge(warm_oracle.expected)
    if says.outcomes != oracle.expected.outcomes:
        raise SystemExit(f"WRONG: expected {oracle.expected.outcomes}, found {says.outcomes}")
    took = ended - began
    return {"published_per_s": crowd.records / took, "seconds": took, "backlog": backlog, "drained_s": drained - ended}


def _make(crowd: Crowd) -> tuple[list[list[Record]], Oracle]:
    oracle = Oracle(crowd.votes_per_voter, Expectation("bench", "poll"))
    made = list(blocks(crowd, [oracle]))
    for key, _ in chain.from_iterable(made):
        partition_of(key, PARTITIONS)  # known by the time they are sent
    return made, oracle


async def _open(found: Settings, publisher: Publisher, crowd: Crowd, oracle: Oracle) -> None:
    async with open_topics(found) as topics:
        await topics.create()
    for marker in crowd.markers(time.time_ns() // 1_000_000 - 60_000):  # the votes were made before
        oracle.expected.expect(MARKER, len(await publisher.publish_marker(marker)))


async def _publish(publisher: Publisher, made: list[list[Record]], rate: float = float("inf")) -> None:
    began, sent, waiting = time.monotonic(), 0, []
    for block in made:
        await asyncio.sleep(max(0.0, began + sent / rate - time.monotonic()))
        waiting.append(await publisher.enqueue_many(block))
        sent += len(block)
        if len(waiting) > UNACKNOWLEDGED:
            await waiting.pop(0)
    for acknowledged in waiting:
        await acknowledged


async def _count(reader: LedgerReader) -> int:
    return sum(head.next_offset for head in await reader.heads())


async def _folded(reader: LedgerReader, wanted: int) -> float:
    deadline = time.monotonic() + DRAIN_S
    while await _count(reader) < wanted:
        if time.monotonic() > deadline:
            raise SystemExit(f"not counted within {DRAIN_S:.0f} s")
        await asyncio.sleep(0.05)
    return time.monotonic()


def _report(costs: Costs, idle: Forecast, said: Forecast, drained: Run, burst: dict[str, float]) -> None:
    compared: list[dict[str, Any]] = [
        {"what": "backlog drained, votes/s", "forecast": idle.votes_per_s, "measured": drained.votes_per_s},
        {"what": "burst, votes that wait at its end", "forecast": said.backlog, "measured": burst["backlog"]},
        {"what": "burst, s until none waits", "forecast": said.drained_s, "measured": burst["drained_s"]},
    ]
    lines = [
        f"Burst: {burst['published_per_s']:,.0f} votes/s for {burst['seconds']:.1f} s. Bottleneck: {said.bottleneck}.",
        "",
        "| | forecast | measured | ratio |",
        "|---|---:|---:|---:|",
    ]
    for line in compared:
        line["ratio"] = line["forecast"] / line["measured"] if line["measured"] else float("nan")
        lines.append(f"| {line['what']} | {line['forecast']:,.1f} | {line['measured']:,.1f} | {line['ratio']:.2f} |")
    fields = {name: getattr(costs, name) for name in costs.__struct_fields__}
    lines += ["", "; ".join(f"{name}: {value:.3g}" for name, value in fields.items())]
    write("model", lines, {"costs": fields, "burst": burst, "compared": compared})


if __name__ == "__main__":
    typer.run(main)
