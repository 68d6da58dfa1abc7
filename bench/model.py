"""The queueing model against this machine: `python -m bench.model`. Told what a vote costs, it must say how long things take.

First what a vote costs is measured: CPU-seconds of publisher, broker, worker and Redis while a log is filled and then drained
by one worker. From these costs, and from how many cores are free, the model forecasts, and is compared with what was seen:

1. the rate at which that log was drained;
2. a burst, published while the worker counts, until the machine is full: how much is counted meanwhile, how many votes wait
   at its end, and how long until none does. Its batches are made before: making them would take more than all the rest.

How many cores are free is what processes get that do nothing but spin: on a machine with other work, fewer than it has.
The costs are written as JSON, for `airtally plan --costs bench/out/model.json`.
"""

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec
import psutil
import typer

from bench.crowd import BLOCK, Crowd, Oracle, Record, blocks
from bench.measuring import console, settings_of, system, usage, worker, write
from bench.peers.roster import PEERS
from bench.peers.run import measure
from bench.sending import send
from pipeline.capacity.costs import Costs
from pipeline.capacity.model import Deployment, Forecast, Peak, forecast
from pipeline.clock import now_ms
from pipeline.domain.record import MAX_AGE_MS
from pipeline.ledger.connection import connect
from pipeline.ledger.reader import LedgerReader, open_ledgers
from pipeline.local.stack import LocalStack, Part
from pipeline.log.publisher import Prepared, Publisher, partition_of
from pipeline.log.topics import open_topics
from pipeline.settings import Settings
from pipeline.show.expectation import MARKER, Expectation

WARM_UP = 20  # blocks before the burst, so that it meets a worker at work
UNACKNOWLEDGED = 32  # blocks
RUSH_MS = 15_000  # that a burst may take, at the most, until all of it is appended
DRAIN_S = 300.0
SPIN_S = 2.0
PARTITIONS = 12
TOPICS = ("warm", "before", "burst", "after")


class Calibration(NamedTuple):
    """What a vote cost; of its publishing, what it cost to send it, once prepared; and the rate of the drain."""

    costs: Costs
    send_s: float
    drained_per_s: float


class Burst(NamedTuple):
    """A burst as it was: how fast for how long, how much of it was counted meanwhile, what waited at its end, until when."""

    published_per_s: float
    seconds: float
    counted_per_s: float
    backlog: int
    drained_s: float


class Block(NamedTuple):
    """Records that are handed over together."""

    records: int
    prepared: list[Prepared]


def main(records: int = 1_000_000, burst_rate: int = 700_000, burst_seconds: float = 3.0) -> None:
    """Calibrate, measure the burst, calibrate once more, forecast, compare."""
    crowd = Crowd(records=round(burst_rate * burst_seconds) + WARM_UP * BLOCK, voters=1_000_000)
    with system(Part.KAFKA, Part.REDIS) as stack:
        places = {name: settings_of(stack, f"model-{name}", partitions=PARTITIONS) for name in TOPICS}
        cores = [_free_cores()]
        asyncio.run(_warm_broker(places["warm"], records))
        calibrations = [asyncio.run(_calibrate(stack, places["before"], records))]
        burst = asyncio.run(_burst(stack, places["burst"], crowd, burst_rate))
        calibrations.append(asyncio.run(_calibrate(stack, places["after"], records)))
        cores.append(_free_cores())
    console.print(f"free cores before and after: {cores[0]:.2f}, {cores[1]:.2f}", highlight=False)
    measured = _mean(calibrations)
    deployment = Deployment(partitions=PARTITIONS, cores=statistics.mean(cores))
    idle = forecast(measured.costs, deployment, Peak(votes_per_s=1, seconds=1))
    of_burst = msgspec.structs.replace(measured.costs, publish_s=measured.send_s)
    said = forecast(of_burst, deployment, Peak(votes_per_s=burst.published_per_s, seconds=burst.seconds))
    _report(measured, idle, said, burst)


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


async def _warm_broker(found: Settings, records: int) -> None:
    """Fill a log that nobody reads: a Java process costs several times as much before it has compiled what it does most."""
    crowd = Crowd(records=records, voters=records)
    made_at = now_ms()
    made, oracle = _make(crowd)
    async with Publisher(found) as publisher:
        await _open(found, publisher, crowd, oracle, made_at)
        await _publish(publisher, _prepare(publisher, made))


async def _calibrate(stack: LocalStack, found: Settings, records: int) -> Calibration:
    """Fill and drain a log; give what a vote cost."""
    crowd = Crowd(records=records, voters=records)
    made_at = now_ms()
    made, oracle = _make(crowd)
    broker = stack.children["kafka"].identity.pid
    async with Publisher(found) as publisher:
        await _open(found, publisher, crowd, oracle, made_at)
        partition_of.cache_clear()  # a voter's key is new almost every time
        began = time.process_time()
        prepared = _prepare(publisher, made)
        ours, theirs = time.process_time(), usage(broker).cpu_s
        await _publish(publisher, prepared)
        send_s = (time.process_time() - ours + usage(broker).cpu_s - theirs) / records
    airtally = next(peer for peer in PEERS if peer.name == "airtally")
    run = await measure(stack, found, airtally, airtally.command(), [oracle.expected], crowd.votes_per_voter)
    if run.wrong:
        raise SystemExit("\n".join(["WRONG: this drain counts for nothing", *run.wrong[:10]]))
    client = connect(found)
    memory = (await client.info("memory"))["used_memory"]
    await client.aclose()
    cost = {part: per_million / 1e6 for part, per_million in run.cpu_s_per_million.items()}
    costs = Costs(
        publish_s=(ours - began) / records + send_s,
        broker_s=cost["kafka"],
        worker_s=cost["worker"],
        redis_s=cost["redis"],
        ledger_bytes=memory / oracle.expected.counted,
        log_bytes=sum(len(key) + len(value) for block in made for key, value in block) / records,
    )
    return Calibration(costs, send_s, run.votes_per_s)


def _mean(calibrations: Sequence[Calibration]) -> Calibration:
    """Give the middle of what was measured before and after: machines change their speed within a minute."""
    costs = [msgspec.structs.asdict(each.costs) for each in calibrations]
    return Calibration(
        Costs(**{name: statistics.mean(each[name] for each in costs) for name in costs[0]}),
        statistics.mean(each.send_s for each in calibrations),
        statistics.mean(each.drained_per_s for each in calibrations),
    )


async def _burst(stack: LocalStack, found: Settings, crowd: Crowd, rate: int) -> Burst:
    """Publish a burst, as fast as it goes up to the rate, while a worker counts."""
    made_at = now_ms()
    made, oracle = _make(crowd)
    async with Publisher(found) as publisher, open_ledgers(found) as reader:
        await _open(found, publisher, crowd, oracle, made_at)
        child = await asyncio.to_thread(stack.start_service, worker("tally", found, when_ready=True))
        prepared, end = _prepare(publisher, made), oracle.expected.records
        warm, rush = prepared[:WARM_UP], prepared[WARM_UP:]
        in_rush = sum(block.records for block in rush)
        await _publish(publisher, warm)
        await _folded(reader, end - in_rush)
        if now_ms() > made_at + MAX_AGE_MS - RUSH_MS:
            raise SystemExit(
                "the burst's votes are too old to be counted by now: fewer of them, or a less busy machine"
            )
        began = time.monotonic()
        await _publish(publisher, rush, rate)
        ended, backlog = time.monotonic(), end - await _count(reader)
        drained = await _folded(reader, end)
        says = Expectation("bench", "poll")
        for head in await reader.heads():
            says.outcomes.update(head.outcomes)
    await asyncio.to_thread(child.stop)
    if says.outcomes != oracle.expected.outcomes:
        raise SystemExit(f"WRONG: expected {oracle.expected.outcomes}, found {says.outcomes}")
    took = ended - began
    return Burst(in_rush / took, took, (in_rush - backlog) / took, backlog, drained - ended)


def _make(crowd: Crowd) -> tuple[list[list[Record]], Oracle]:
    oracle = Oracle(crowd.votes_per_voter, Expectation("bench", "poll"))
    return list(blocks(crowd, [oracle])), oracle


def _prepare(publisher: Publisher, made: list[list[Record]]) -> list[Block]:
    return [Block(len(block), publisher.prepare(block)) for block in made]


async def _open(found: Settings, publisher: Publisher, crowd: Crowd, oracle: Oracle, made_at: int) -> None:
    async with open_topics(found) as topics:
        await topics.create()
    for marker in crowd.markers(made_at):
        oracle.expected.expect(MARKER, len(await publisher.publish_marker(marker)))


async def _publish(publisher: Publisher, prepared: list[Block], rate: float = float("inf")) -> None:
    before = accumulate((block.records for block in prepared), initial=0)  # its records, of each block
    ticks = ((sent / rate, block.prepared) for sent, block in zip(before, prepared, strict=False))
    await send(publisher, ticks, most_unacknowledged=UNACKNOWLEDGED)


async def _count(reader: LedgerReader) -> int:
    return sum(head.next_offset for head in await reader.heads())


async def _folded(reader: LedgerReader, wanted: int) -> float:
    deadline = time.monotonic() + DRAIN_S
    while await _count(reader) < wanted:
        if time.monotonic() > deadline:
            raise SystemExit(f"not counted within {DRAIN_S:.0f} s")
        await asyncio.sleep(0.05)
    return time.monotonic()


def _report(measured: Calibration, idle: Forecast, said: Forecast, burst: Burst) -> None:
    compared: list[dict[str, Any]] = [
        {"what": "backlog drained, votes/s", "forecast": idle.votes_per_s, "measured": measured.drained_per_s},
        {
            "what": "burst, votes counted while it is published, per s",
            "forecast": min(said.votes_per_s, burst.published_per_s),
            "measured": burst.counted_per_s,
        },
        {"what": "burst, votes that wait at its end", "forecast": said.backlog, "measured": burst.backlog},
        {"what": "burst, s until none waits", "forecast": said.drained_s, "measured": burst.drained_s},
    ]
    lines = [
        f"Burst: {burst.published_per_s:,.0f} votes/s for {burst.seconds:.1f} s. Bottleneck: {said.bottleneck}.",
        "",
        "What waits at the burst's end is the difference of two rates: it says little where they are close.",
        "",
        "| | forecast | measured | ratio |",
        "|---|---:|---:|---:|",
    ]
    for line in compared:
        line["ratio"] = line["forecast"] / line["measured"] if line["measured"] else float("nan")
        lines.append(f"| {line['what']} | {line['forecast']:,.1f} | {line['measured']:,.1f} | {line['ratio']:.2f} |")
    fields = msgspec.structs.asdict(measured.costs)
    lines += ["", "; ".join(f"{name}: {value:.3g}" for name, value in fields.items())]
    write("model", lines, {"costs": fields, "burst": burst._asdict(), "send_s": measured.send_s, "compared": compared})


if __name__ == "__main__":
    typer.run(main)
