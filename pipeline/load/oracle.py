"""What the crowd was told, vote by vote, and whether a result can be true beside that."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from hdrh.histogram import HdrHistogram

from pipeline.load.plan import Shot

LONGEST_US = 10 * 60 * 1_000_000
PERCENTILES = (50, 90, 99, 99.9, 100)


def _histogram() -> HdrHistogram:
    return HdrHistogram(1, LONGEST_US, 3)


@dataclass
class Oracle:
    """The answers. `totals` is comparable with `airtally result --json`."""

    totals: Counter[str] = field(default_factory=Counter)  # votes acknowledged, by option: they must be counted
    undecided: Counter[str] = field(default_factory=Counter)  # given up without an answer: they may be counted
    refused: Counter[str] = field(default_factory=Counter)  # not taken, by the last reason: they must not be counted
    answers: Counter[str] = field(default_factory=Counter)  # of all tries, by status or what went wrong
    retries: int = 0
    latency: HdrHistogram = field(default_factory=_histogram)  # us from when a shot was due to its acknowledgement

    def acknowledged(self, shot: Shot, now: float) -> None:
        """Take note of votes that were acknowledged."""
        self.totals[shot.option] += shot.votes
        self.latency.record_value(min(LONGEST_US, max(1, round((now - shot.due) * 1_000_000))))

    def given_up(self, shot: Shot) -> None:
        """Take note of votes that were not acknowledged, and will not be tried again."""
        if shot.may_be_in:
            self.undecided[shot.option] += shot.votes
        else:
            self.refused[shot.last] += shot.votes

    def latency_ms(self) -> dict[str, float]:
        """Give the percentiles (ms)."""
        return {f"p{each:g}": self.latency.get_value_at_percentile(each) / 1000 for each in PERCENTILES}

    def differences(self, totals: Mapping[str, int]) -> list[str]:
        """Compare with counted totals: say what cannot be, in words. Nothing: they agree."""
        differences = []
        for option in sorted({*totals, *self.totals, *self.undecided}):
            counted, acknowledged, undecided = totals.get(option, 0), self.totals[option], self.undecided[option]
            if not acknowledged <= counted <= acknowledged + undecided:
                differences.append(
                    f"{option}: {counted} counted, {acknowledged} were acknowledged and {undecided} are undecided"
                )
        return differences

    def content(self) -> dict[str, Any]:
        """Give all of it in plain types."""
        return {
            "total": self.totals.total(),
            "totals": dict(self.totals),
            "undecided": dict(self.undecided),
            "refused": dict(self.refused),
            "answers": dict(self.answers),
            "retries": self.retries,
            "latency_ms": self.latency_ms(),
        }

    def to_json(self) -> bytes:
        """Write it."""
        return orjson.dumps(self.content(), option=orjson.OPT_INDENT_2)
