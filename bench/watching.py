"""A running system seen from outside: how far each view is, what each process costs, and what its metrics say."""

import asyncio
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import psutil
from prometheus_client.parser import text_string_to_metric_families

from bench.measuring import usage
from pipeline.archive.recount import reached_records
from pipeline.archive.store import ArchiveStore
from pipeline.ledger.reader import LedgerReader
from pipeline.log.offsets import LogOffsets
from pipeline.settings import Settings

SAMPLE_EVERY_S = 0.25
ARCHIVE_EVERY = 4  # samples: asking ClickHouse is not free


@dataclass(frozen=True)
class Sample:
    """One look. Records are those of the topic; CPU is in seconds, so far."""

    at_s: float  # monotonic
    end: int  # records in the log
    folded: int
    archived: int
    air_behind_s: float  # as the live service says
    cpu_s: Mapping[str, float]

    @property
    def tally_lag(self) -> int:
        """Records that no ledger has yet."""
        return max(0, self.end - self.folded)

    @property
    def archive_lag(self) -> int:
        """Records that ClickHouse does not have yet."""
        return max(0, self.end - self.archived)


@dataclass
class Watch:
    """Looks at everything, again and again."""

    found: Settings
    reader: LedgerReader
    offsets: LogOffsets
    pids: Mapping[str, int]
    metrics_urls: Mapping[str, str]  # of the services, by name
    samples: list[Sample] = field(default_factory=list)

    async def until(self, done: Callable[[Sample], bool], timeout_s: float, what: str) -> Sample:
        """Sample until a sample is what is waited for; give it.

        Raises:
            TimeoutError: it was not.
        """
        store, deadline = ArchiveStore(self.found), time.monotonic() + timeout_s
        try:
            while True:
                sample = await self._sample(store)
                self.samples.append(sample)
                if done(sample):
                    return sample
                if sample.at_s > deadline:
                    raise TimeoutError(f"not within {timeout_s:.0f} s: {what}; {sample}")
                await asyncio.sleep(SAMPLE_EVERY_S)
        finally:
            await store.close()

    async def _sample(self, store: ArchiveStore) -> Sample:
        archived = self.samples[-1].archived if self.samples else 0
        if len(self.samples) % ARCHIVE_EVERY == 0:
            archived = await reached_records(store, self.found)
        at, end = time.monotonic(), sum((await self.offsets.end()).values())
        return Sample(
            at_s=at,
            end=end,
            folded=sum(head.next_offset for head in await self.reader.heads()),
            archived=archived,
            air_behind_s=(await self.metrics("live")).get("airtally_live_behind_seconds", 0.0),
            cpu_s={name: _cpu_s(pid) for name, pid in self.pids.items()},
        )

    async def metrics(self, service: str) -> dict[str, float]:
        """Read a service's metrics: a histogram's buckets as NAME_bucket:LE, other labels added up."""
        text = await asyncio.to_thread(_read, self.metrics_urls[service])
        values: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for each in family.samples:
                name = f"{each.name}:{each.labels['le']}" if "le" in each.labels else each.name
                values[name] = values.get(name, 0.0) + each.value
        return values


def quantile(before: Mapping[str, float], after: Mapping[str, float], name: str, share: float) -> float:
    """Give a quantile of what a histogram has seen between two readings, interpolated within its bucket."""
    prefix = f"{name}_bucket:"
    bounds = sorted(
        (float(key[len(prefix) :]), after[key] - before.get(key, 0.0)) for key in after if key.startswith(prefix)
    )
    wanted = share * bounds[-1][1]
    low, below = 0.0, 0.0
    for bound, number in bounds:
        if number >= wanted:
            return low if bound == float("inf") else low + (bound - low) * (wanted - below) / max(1.0, number - below)
        low, below = bound, number
    return low


def _cpu_s(pid: int) -> float:
    try:
        return usage(pid).cpu_s
    except psutil.NoSuchProcess:
        return 0.0


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())
