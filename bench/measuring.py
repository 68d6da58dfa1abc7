"""What all benchmarks need: a system of their own, processes watched from outside, medians, and a record of it all."""

import asyncio
import importlib.metadata
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
import psutil
from rich.console import Console
from rich.table import Table

from pipeline.local.ports import free_port
from pipeline.local.stack import LocalStack, Part, Service
from pipeline.log.publisher import Publisher
from pipeline.log.topics import open_topics
from pipeline.settings import Settings
from pipeline.show.expectation import Expectation
from pipeline.show.player import Player
from pipeline.show.script import FINALISTS, Script, Shares

BUSY_LOAD_PER_CPU = 2  # a benchmark by itself keeps all cores busy, and a process or two waiting
BUSY = (
    "**The machine was busy with other work as well**: rates and waits are worse than they would be, and differ by chance. "
    "Compare CPU-seconds, and measure again on a quiet machine."
)

QUIET_CORES = 0.03  # an edge with nothing to do asks Redis for polls, and no more

OUT = Path(__file__).parent / "out"

console = Console()


@contextmanager
def system(*parts: Part) -> Iterator[LocalStack]:
    """Run parts of the local system in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="airtally-bench-") as folder, LocalStack(Path(folder), parts) as stack:
        yield stack


def settings_of(stack: LocalStack, topic: str, *, partitions: int = 12) -> Settings:
    """Give the settings of a run with a topic of its own."""
    addresses = stack.addresses
    return Settings(
        kafka=addresses.kafka,
        redis_url=addresses.redis_url or None,
        clickhouse_url=addresses.clickhouse_url or None,
        clickhouse_database=topic.replace("-", "_"),
        topic=topic,
        partitions=partitions,
        home=stack.folder,
    )


def worker(name: str, found: Settings, *, when_ready: bool = False) -> Service:
    """Describe a worker of ours on this run's topic; `when_ready`: its start waits until it says that it is ready."""
    port = free_port()
    return Service(
        f"{name}-{found.topic}",
        [sys.executable, "-m", "pipeline.cli", name],
        ready_url=f"http://127.0.0.1:{port}/readyz" if when_ready else None,
        env={
            "AIRTALLY_TOPIC": found.topic,
            "AIRTALLY_PARTITIONS": str(found.partitions),
            "AIRTALLY_CLICKHOUSE_DATABASE": found.clickhouse_database,
            "AIRTALLY_HEALTH_PORT": str(port),
        },
    )


def workload(records: int, per_second: int) -> Script:
    """Give a plain poll: five options, up to two votes a voter, 5 % repeats, 3 % past the limit, nothing malformed."""
    nothing = dict.fromkeys(
        ("malformed", "wrong_key", "unknown_option", "unknown_poll", "before_opening", "implausible_time", "unusual",
         "rival_openings", "oversized"),
        0.0,
    )  # fmt: skip
    return Script(
        show_id="bench",
        poll_id="poll",
        options=FINALISTS,
        records=records,
        voters=records,
        votes_per_voter=2,
        duration_s=records / per_second,
        shares=Shares(repeats=0.05, over_limit=0.03, **nothing),
    )


async def fill(found: Settings, script: Script, seed: int = 1) -> Expectation:
    """Make the topic and publish a whole script into it."""
    async with open_topics(found) as topics:
        await topics.create()
    async with Publisher(found) as publisher:
        return await Player(script, seed, publisher).play(closes=False)


@dataclass(frozen=True)
class Usage:
    """What a process has used so far."""

    cpu_s: float
    peak_mb: float


def usage(pid: int) -> Usage:
    """Ask the operating system: CPU of all threads, and the peak of the resident memory (where none is told: what it is)."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    peak = process.memory_info().rss / 1e6
    status = Path(f"/proc/{pid}/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM"):
            peak = int(line.split()[1]) / 1e3
    return Usage(times.user + times.system, peak)


@contextmanager
def held_to(cores: float, pid: int) -> Iterator[bool]:
    """Hold a process to a part of a core until the block ends, by a control group; False: it cannot be done here.

    It needs the right to make one, which root has: of version 1 under /sys/fs/cgroup/cpu, or of version 2.
    """
    root = Path("/sys/fs/cgroup")
    is_first = (root / "cpu" / "cgroup.procs").exists()
    parent = root / "cpu" if is_first else root
    group, home = parent / f"airtally-{pid}", parent / "cgroup.procs"
    period_us = 20_000
    try:
        group.mkdir()
        if is_first:
            (group / "cpu.cfs_period_us").write_text(str(period_us))
            (group / "cpu.cfs_quota_us").write_text(str(round(cores * period_us)))
        else:
            (group / "cpu.max").write_text(f"{round(cores * period_us)} {period_us}")
        (group / "cgroup.procs").write_text(str(pid))
    except OSError:
        with suppress(OSError):
            group.rmdir()
        yield False
        return
    try:
        yield True
    finally:
        home.write_text(str(pid))
        group.rmdir()


def wait_until_quiet(pid: int, within_s: float = 60.0) -> None:
    """Wait until a process has nothing to do any more, such as letting go of thousands of connections."""
    deadline = time.monotonic() + within_s
    before = -math.inf
    while usage(pid).cpu_s > before + QUIET_CORES and time.monotonic() < deadline:
        before = usage(pid).cpu_s
        time.sleep(1.0)


async def until(condition, what: str, timeout_s: float = 300.0, every_s: float = 0.1) -> float:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Wait for an asynchronous condition; give the time (monotonic) at which it held."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:.0f} s: {what}")
        await asyncio.sleep(every_s)
    return time.monotonic()


def spread(numbers: Sequence[float]) -> str:
    """Write a median with its spread."""
    return f"{statistics.median(numbers):,.1f} ({min(numbers):,.1f} to {max(numbers):,.1f})"


def machine() -> dict[str, object]:
    """Say where this ran, and with what."""
    packages = ("airtally", "faust-streaming", "aiokafka", "redis", "clickhouse-connect", "msgspec", "chdb-core")
    return {
        "cpus": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "load_before": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def _figure(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.3f}" if abs(value) < 1 else f"{value:,.1f}"


def report(name: str, rows: Sequence[Mapping[str, object]], more: Mapping[str, object]) -> None:
    """Print a table of the rounds, a column for each, and write everything to bench/out."""
    table = Table(title=name, box=None, show_header=False)
    table.add_column()
    for _ in rows:
        table.add_column(justify="right")
    for figure in rows[0]:
        table.add_row(figure, *(_figure(row[figure]) for row in rows))
    console.print(table)
    for key, value in more.items():
        console.print(f"{key}: {value}", highlight=False)
    lines = [f"| |{' |' * len(rows)}", f"|---|{'---:|' * len(rows)}"]
    lines += [f"| {column} | {' | '.join(_figure(row[column]) for row in rows)} |" for column in rows[0]]
    lines += ["", *[f"{key}: {value}" for key, value in more.items()]]
    write(name, lines, {"rounds": rows, **more}, show=False)


def _command() -> str:
    """Give the command that is running."""
    module = sys.modules["__main__"].__spec__
    return " ".join([*(["python", "-m", module.name] if module else ["python"]), *sys.argv[1:]])


def write(name: str, lines: Sequence[str], content: Mapping[str, object], *, show: bool = True) -> None:
    """Write bench/out/NAME.md, as it stands in bench/RESULTS.md later, and NAME.json, both with where and when this ran."""
    where = {"command": _command(), "measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", **machine()}
    said = "; ".join(f"{key}: {value}" for key, value in where.items())
    if os.getloadavg()[0] > BUSY_LOAD_PER_CPU * (os.cpu_count() or 1):
        lines = [*lines, "", BUSY]
    OUT.mkdir(exist_ok=True)
    text = "\n".join([*lines, "", said, ""])
    (OUT / f"{name}.md").write_text(text)
    (OUT / f"{name}.json").write_bytes(
        orjson.dumps({"name": name, "machine": where, **content}, option=orjson.OPT_INDENT_2)
    )
    if show:
        console.print(text, highlight=False, markup=False, soft_wrap=True)
