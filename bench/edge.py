"""The edge beside others with the same guarantees, in Node.js and behind uvicorn and Granian: `python -m bench.edge`.

And beside a bare one, which hands to Kafka whatever comes: what all else costs, on the same machine in the same minutes.

Votes are sent by `airtally load` over real connections, from a process of its own, to one process at a time; broker and
generator share the machine's cores. For each server and round: as many votes as go through 200 connections (saturation), then
70 % of that in an open loop, then arrays of 100. Afterwards, for ours: a storm over WebSockets; then three times saturation, of
single votes and of arrays, with the edge held to a quarter of a core, so that the generator can send that much from the
rest; before and after, what goes through at best. At last the tally counts everything that was sent to ours, and the count must
be what was acknowledged.

    python -m bench.edge --rounds 3 --seconds 10 --sockets 20000 --overload 60

With `--rounds 0 --overload 0` there is only the storm, five times, on a page of its own: where a process may open more files.
"""

import asyncio
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil
import typer

from bench.edge_servers import ENDLESS, OPTIONS, POLL, Server, arrays, asgi, bare, node, ours
from bench.measuring import console, held_to, report, settings_of, system, until, usage, wait_until_quiet, worker
from pipeline.clock import now_ms
from pipeline.descriptors import allow_descriptors
from pipeline.domain.record import Option, PollOpened
from pipeline.domain.result import merge
from pipeline.garbage import collect_rarely
from pipeline.ledger.reader import open_ledgers
from pipeline.load.crowd import Crowd
from pipeline.load.oracle import Oracle
from pipeline.load.plan import Plan
from pipeline.local.ports import free_port
from pipeline.local.stack import LocalStack, Part
from pipeline.log.offsets import LogOffsets
from pipeline.log.publisher import Publisher
from pipeline.log.topics import open_topics
from pipeline.settings import Settings

FRONTS = 64  # connections of edges in front
ARRAYS = 4_000
CROWD = 5_000  # connections under overload
OVERLOADED_CORES = 0.25
BEST_S = 10.0  # a quota is handed out by the tenth of a second: less than some seconds say little
WARM = 100_000  # votes, for the broker's compiler most of all
STORMS = 5  # where there is nothing else: the first ones warm the generator
PARTLY = 0.7  # of saturation


def main(rounds: int = 3, seconds: float = 8.0, sockets: int = 20_000, overload: float = 20.0) -> None:
    """Measure all of it. There are as many sockets as the system lets a process open."""
    starts = [ours, asgi("uvicorn"), asgi("granian"), *node(), bare]
    with system(Part.KAFKA, Part.REDIS) as stack, multiprocessing.get_context("spawn").Pool(1) as pool:
        found = settings_of(stack, "bench-edge")
        asyncio.run(_open(stack, found))
        expected = Oracle()
        rows: list[dict[str, Any]] = []

        def play(plan: Plan, server: Server) -> dict[str, Any]:
            """Load a server, in a process of its own; give what was seen, and what the server used."""
            before, began = usage(server.pid).cpu_s, time.monotonic()
            seen: dict[str, Any] = pool.apply(_play, (plan,))
            seen["cpu_us_per_vote"] = 1e6 * (usage(server.pid).cpu_s - before) / max(1, seen["total"])
            seen["cores"] = (usage(server.pid).cpu_s - before) / (time.monotonic() - began)
            if server.name == "airtally":
                expected.totals.update(seen["totals"])
                expected.undecided.update(seen["undecided"])
            return seen

        for number in range(rounds):
            for start in starts if number % 2 == 0 else reversed(starts):
                with start(stack, found) as server:
                    rows.append(_round(server, play, seconds))
                    console.print(rows[-1], highlight=False)
        more: dict[str, Any] = {}
        if rows:
            more = _compared(rows)
            with ours(stack, found, port=(shared := free_port())) as server, ours(stack, found, port=shared):
                pair = play(server.plan(**arrays(), seconds=ARRAYS / ENDLESS, connections=2 * FRONTS, seed=8), server)
                more["arrays_votes_per_s_of_two_processes"] = round(pair["total"] / pair["took_s"])
        else:
            with ours(stack, found) as server:
                _warm(server, play)
        storms = []
        for _ in range(1 if rows else STORMS):
            with ours(stack, found) as server:
                storms.append(_storm(server, play, allow_descriptors(sockets)))
                if rows:
                    more |= storms[-1]
                if overload:
                    more |= _overload(server, play, overload)
        more["counted"] = asyncio.run(_counted(stack, found, expected))
    report("edge" if rows else "edge-sockets", rows or storms, more)


def _play(plan: Plan) -> dict[str, Any]:
    """Play a plan; give the oracle's content, and how long it took."""
    allow_descriptors(plan.connections)
    collect_rarely()  # a pause would count as the server's time

    async def play() -> dict[str, Any]:
        crowd = Crowd(plan)
        opened = await crowd.connect() if plan.is_socket else 0
        await asyncio.sleep(2.0 if plan.is_socket else 0.0)
        began, playing = time.monotonic(), asyncio.create_task(crowd.play())
        await asyncio.sleep(plan.seconds)
        meanwhile = crowd.oracle.totals.total()
        oracle = await playing
        took_s = time.monotonic() - began
        await crowd.close()
        return {**oracle.content(), "took_s": took_s, "opened": opened, "acknowledged_while_offered": meanwhile}

    return asyncio.run(play())


def _round(server: Server, play: Callable[[Plan, Server], dict[str, Any]], seconds: float) -> dict[str, Any]:
    _warm(server, play)
    probe = play(server.plan(seconds=30_000 / ENDLESS), server)
    rate = probe["total"] / probe["took_s"]
    single = play(server.plan(seconds=rate * seconds / ENDLESS, seed=2), server)
    single_per_s = single["total"] / single["took_s"]
    partly = play(server.plan(per_s=PARTLY * single_per_s, seconds=seconds, seed=3), server)
    # As many as take some seconds: a rate is not known before.
    forwarded = play(server.plan(**arrays(), seconds=ARRAYS / ENDLESS, connections=FRONTS, seed=4), server)
    return {
        "server": server.name,
        "single_per_s": single_per_s,
        "single_cpu_us": single["cpu_us_per_vote"],
        "single_cores": single["cores"],
        "at_70_p50_ms": partly["latency_ms"]["p50"],
        "at_70_p99_ms": partly["latency_ms"]["p99"],
        "at_70_cpu_us": partly["cpu_us_per_vote"],
        "arrays_votes_per_s": forwarded["total"] / forwarded["took_s"],
        "arrays_cpu_us": forwarded["cpu_us_per_vote"],
        "arrays_cores": forwarded["cores"],
        "peak_mb": usage(server.pid).peak_mb,
    }


def _compared(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Give medians, and how the two compare within each round: what else the machine did was the same for both."""
    medians = {
        name: {
            column: round(statistics.median(row[column] for row in rows if row["server"] == name), 1)
            for column in rows[0]
            if column != "server"
        }
        for name in dict.fromkeys(row["server"] for row in rows)
    }
    compared = ("single_per_s", "single_cpu_us", "at_70_p99_ms", "arrays_votes_per_s", "arrays_cpu_us")
    ours = [row for row in rows if row["server"] == "airtally"]
    ratios = {}
    for name in medians.keys() - {"airtally"}:
        pairs = list(zip(ours, (row for row in rows if row["server"] == name), strict=True))
        ratios[f"airtally_to_{name}"] = {
            column: round(statistics.median(our[column] / other[column] for our, other in pairs), 2)
            for column in compared
        }
    return {"medians": medians, **ratios}


def _warm(server: Server, play: Callable[[Plan, Server], dict[str, Any]]) -> None:
    play(server.plan(seconds=WARM / ENDLESS), server)


def _storm(server: Server, play: Callable[[Plan, Server], dict[str, Any]], sockets: int) -> dict[str, Any]:
    """Open many WebSockets, and have each vote within one second."""
    process, peak = psutil.Process(server.pid), 0
    before = process.memory_info().rss
    plan = server.plan(is_socket=True, connections=sockets, per_s=float(sockets), seconds=1.0, timeout_s=30.0, seed=5)
    seen = play(plan, server)
    peak = process.memory_info().rss
    return {
        "storm_sockets": seen["opened"],
        "storm_acknowledged": seen["total"],
        "storm_acknowledged_within_s": round(seen["took_s"], 2),
        "storm_latency_ms": seen["latency_ms"],
        "storm_kb_per_socket": round((peak - before) / max(1, seen["opened"]) / 1e3, 1),
    }


def _most(server: Server, play: Callable[[Plan, Server], dict[str, Any]], fields: dict[str, Any], shots: int) -> float:
    """Send so many shots as fast as they are answered; give votes/s."""
    seen = play(server.plan(**fields, seconds=shots / ENDLESS, connections=3 * FRONTS, seed=6), server)
    return float(seen["total"] / seen["took_s"])


def _overload(server: Server, play: Callable[[Plan, Server], dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Offer three times what goes through, from viewers who give up after some seconds."""
    more: dict[str, Any] = {}
    wait_until_quiet(server.pid)  # after the storm
    with held_to(OVERLOADED_CORES, server.pid) as is_held:
        more["overload_cores"] = OVERLOADED_CORES if is_held else "all: the rate of a process cannot be held here"
        for name, fields, some in (("single", {"batch": 1}, 5_000), ("arrays", arrays(), 300)):
            roughly = _most(server, play, fields, some)
            shots = round(roughly * BEST_S / fields["batch"])
            before = _most(server, play, fields, shots)
            offered = server.plan(
                **fields,
                per_s=3 * before / fields["batch"],
                seconds=seconds,
                connections=CROWD,
                timeout_s=4.0,
                patience_s=6.0,
                seed=7,
            )
            seen = play(offered, server)
            wait_until_quiet(server.pid)
            after = _most(server, play, fields, shots)  # machines change their speed within a minute
            goodput_per_s = seen["acknowledged_while_offered"] / seconds
            more |= {
                f"overload_{name}_best_per_s": [round(before), round(after)],
                f"overload_{name}_offered_per_s": round(3 * before),
                f"overload_{name}_goodput_per_s": round(goodput_per_s),
                f"overload_{name}_goodput_of_best": round(goodput_per_s / statistics.mean((before, after)), 2),
                f"overload_{name}_answers": seen["answers"],
                f"overload_{name}_undecided": sum(seen["undecided"].values()),
                f"overload_{name}_latency_ms": seen["latency_ms"],
            }
    return more | {"overload_peak_mb": round(usage(server.pid).peak_mb)}


async def _open(stack: LocalStack, found: Settings) -> None:
    """Make a topic for each, and open the poll in ours."""
    for settings in (found, found.model_copy(update={"topic": f"{found.topic}-peers"})):
        async with open_topics(settings) as topics:
            await topics.create()
    async with Publisher(found) as publisher:
        options = tuple(Option(name) for name in OPTIONS)
        await publisher.publish_marker(PollOpened(*POLL, now_ms(), options))
    tally = await asyncio.to_thread(stack.start_service, worker("tally", found, when_ready=True))
    await _folded(found)  # so that edges know the poll
    tally.stop()


async def _counted(stack: LocalStack, found: Settings, expected: Oracle) -> str:
    """Have the tally count all of it, and compare."""
    await asyncio.to_thread(stack.start_service, worker("tally", found, when_ready=True))
    await _folded(found)
    async with open_ledgers(found) as ledgers:
        result = merge(POLL, await ledgers.read(POLL, windows=False))
    differences = ["the poll is unknown"] if result is None else expected.differences(result.totals)
    if differences or result is None:
        raise SystemExit("WRONG: " + "; ".join(differences))
    undecided = expected.undecided.total()
    return f"{result.total:,} counted, {expected.totals.total():,} acknowledged, {undecided:,} undecided: agrees"


async def _folded(found: Settings) -> None:
    async with open_ledgers(found) as ledgers, LogOffsets(found) as offsets:
        ends = await offsets.end()

        async def folded() -> bool:
            return {head.partition: head.next_offset for head in await ledgers.heads()} == ends

        await until(folded, "all counted")


if __name__ == "__main__":
    if sys.platform != "linux":
        console.print("memory is read from /proc: on this system peaks are current values")
    typer.run(main)
