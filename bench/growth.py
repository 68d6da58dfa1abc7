"""How cost grows: `python -m bench.growth`. One tally worker, a short log for each point, one thing changed at a time.

Rate against partitions, options, polls open at once, voters, repeats and the size of a chunk; memory against the votes that are
counted, and against a backlog of which no more count.
Each answer is checked against the oracle, poll by poll and cell by cell.
"""

import asyncio
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import redis
import typer

from bench.charts import lines
from bench.crowd import Crowd, fill
from bench.measuring import OUT, console, settings_of, system, write
from bench.peers.roster import PEERS, Command
from bench.peers.run import Run, measure
from pipeline.local.stack import LocalStack, Part

CHUNKED = (
    "import sys, pipeline.tally.folder as folder; folder.CHUNK_RECORDS = int(sys.argv.pop(1)); "
    "from pipeline.cli import main; main()"
)

BENDS = {  # what does, at each curve
    "partitions": "one partition does one thing after the other (decide, then Redis); of more, one is decided while Redis has "
    "another's, and the fetches become smaller.",
    "options": "a chunk adds to a field for each option and second that it meets: more options, more fields, the same votes.",
    "polls open at once": "a chunk is decided poll by poll, each with tables and calls to Redis of its own.",
    "voters": "each counted vote lists its voter, whether new or known, so voters cost the same.",
    "share of repeats": "a repeat is decoded and looked up like any vote, but adds nothing to Redis.",
    "records of a chunk, at most": "each chunk costs a call, a round trip and a write of the head; larger ones keep Redis from "
    "others for longer.",
    "votes": "a vote's cost does not depend on how many came before, until its worker has more to remember than its memory may "
    "hold: then files are made, and merged as they become more. Memory follows the votes until then, and not beyond.",
    "backlog": "as many votes count in each, among ever more repeats: what waits to be read is not held.",
}


@dataclass(frozen=True)
class Point:
    """What is changed, and the run."""

    curve: str
    value: float
    crowd: Crowd
    partitions: int = 12
    chunk: int | None = None  # records; None: the service's own


@dataclass
class Found:
    """What a point has shown, over the rounds."""

    runs: list[Run] = field(default_factory=list)
    redis_bytes_per_vote: list[float] = field(default_factory=list)


def points(records: int) -> list[Point]:
    """Give all points. Voters have votes enough: what is refused would not be work."""
    plain = Crowd(records=records, voters=1_000_000, votes_per_voter=200)
    return [
        *[Point("partitions", number, plain, partitions=number) for number in (1, 12, 48)],
        *[Point("options", number, replace(plain, options=number)) for number in (2, 10, 100)],
        *[Point("polls open at once", number, replace(plain, polls=number)) for number in (1, 20)],
        *[Point("voters", number, replace(plain, voters=number)) for number in (10_000, 1_000_000, 10_000_000)],
        *[Point("share of repeats", share, replace(plain, repeats=share)) for share in (0.0, 0.05, 0.5)],
        *[Point("records of a chunk, at most", number, plain, chunk=number) for number in (100, 500, 2_000, 6_000)],
        *[
            Point("votes", number, replace(plain, records=number))
            for number in (records // 4, records, 3 * records, 80 * records)
        ],
        *[
            Point("backlog", times * records, replace(plain, records=times * records, repeats=1 - 1 / times))
            for times in (1, 4, 16)
        ],
    ]


def main(
    records: int = 300_000,
    rounds: int = 1,
    only: Annotated[str, typer.Option(help="Curves, with commas; all if not given.")] = "",
) -> None:
    """Measure all points, and write table and chart."""
    chosen = [point for point in points(records) if not only or point.curve in only.split(",")]
    found = [Found() for _ in chosen]
    with system(Part.KAFKA, Part.REDIS) as stack:
        for number in range(rounds):
            for index, point in enumerate(chosen):
                run, per_vote = asyncio.run(_run(stack, point, f"growth-{number}-{index}"))
                found[index].runs.append(run)
                found[index].redis_bytes_per_vote.append(per_vote)
                console.print(f"{point.curve} {point.value:,g}: {run.votes_per_s:,.0f} votes/s", highlight=False)
    rows = [_row(point, each) for point, each in zip(chosen, found, strict=True)]
    _write(rows, {"records": records, "rounds": rounds})


async def _run(stack: LocalStack, point: Point, topic: str) -> tuple[Run, float]:
    settings = settings_of(stack, topic, partitions=point.partitions)
    expected = await fill(settings, point.crowd)
    airtally = next(peer for peer in PEERS if peer.name == "airtally")
    chunked = Command([sys.executable, "-c", CHUNKED, str(point.chunk), "tally"])
    command = airtally.command() if point.chunk is None else chunked
    client = redis.Redis.from_url(settings.redis_url or "")
    client.flushall()
    empty = client.info("memory")["used_memory"]
    run = await measure(stack, settings, airtally, command, expected, point.crowd.votes_per_voter)
    if run.wrong:
        raise SystemExit(
            "\n".join([f"WRONG at {point.curve} {point.value}: this rate counts for nothing", *run.wrong[:10]])
        )
    used = client.info("memory")["used_memory"] - empty
    client.close()
    return run, used / sum(each.counted for each in expected)


def _row(point: Point, found: Found) -> dict[str, Any]:
    def median(numbers: Sequence[float]) -> float:
        return statistics.median(numbers)

    return {
        "curve": point.curve,
        "value": point.value,
        "votes_per_s": median([run.votes_per_s for run in found.runs]),
        "worker_cpu_s_per_million": median([run.cpu_s_per_million["worker"] for run in found.runs]),
        "redis_cpu_s_per_million": median([run.cpu_s_per_million["redis"] for run in found.runs]),
        "worker_peak_mb": median([run.peak_mb for run in found.runs]),
        "redis_bytes_per_counted_vote": median(found.redis_bytes_per_vote),
    }


def _write(rows: Sequence[Mapping[str, Any]], how: Mapping[str, object]) -> None:
    names = [name for name in rows[0] if name not in {"curve", "value"}]
    text = [f"| {' | '.join(['', '', *names])} |", f"|{'---|' * 2}{'---:|' * len(names)}"]
    text += [
        f"| {row['curve']} | {row['value']:,g} | {' | '.join(f'{row[name]:,.1f}' for name in names)} |" for row in rows
    ]
    text += ["", *[f"- {curve}: {BENDS[curve]}" for curve in dict.fromkeys(row["curve"] for row in rows)]]
    write("growth", text, {**how, "points": rows})
    curves = list(dict.fromkeys(row["curve"] for row in rows))
    lines(
        OUT / "growth.svg",
        "points of each curve, from its smallest value to its largest",
        {
            title: {curve: _points([row for row in rows if row["curve"] == curve], name) for curve in curves}
            for title, name in (
                ("votes per second", "votes_per_s"),
                ("worker: CPU-seconds per million", "worker_cpu_s_per_million"),
                ("Redis: CPU-seconds per million", "redis_cpu_s_per_million"),
                ("Redis: bytes per counted vote", "redis_bytes_per_counted_vote"),
            )
        },
    )


def _points(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    last = max(1, len(rows) - 1)
    return [index / last for index in range(len(rows))], [row[name] for row in rows]


if __name__ == "__main__":
    typer.run(main)
