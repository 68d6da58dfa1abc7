"""What a campaign found: a table for people (Markdown), everything for programs (JSON), and the sum of it."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from bench.measuring import machine
from tests.faults.trial import Trial
from tests.faults.verdict import Verdict


@dataclass(frozen=True)
class Summary:
    """The sum of a campaign."""

    injected: int
    survived: int
    failed: int
    no_verdict: int
    records: int
    lost: int
    twice: int
    caught_up_median_s: float | None
    caught_up_worst_s: float | None

    @property
    def exit_status(self) -> int:
        """0: every fault was survived. 1: one was not. 3: of one nothing is known."""
        return 1 if self.failed else 3 if self.no_verdict else 0


def summary(trials: Sequence[Trial]) -> Summary:
    """Add up."""
    verdicts = [trial.verdict for trial in trials]
    seconds = [trial.caught_up_s for trial in trials if trial.caught_up_s is not None and trial.verdict is Verdict.PASS]
    return Summary(
        injected=len(trials) - verdicts.count(Verdict.NONE),
        survived=verdicts.count(Verdict.PASS),
        failed=verdicts.count(Verdict.FAIL),
        no_verdict=verdicts.count(Verdict.NONE),
        records=sum(trial.records for trial in trials),
        lost=sum(trial.lost for trial in trials),
        twice=sum(trial.twice for trial in trials),
        caught_up_median_s=statistics.median(seconds) if seconds else None,
        caught_up_worst_s=max(seconds, default=None),
    )


def markdown(trials: Sequence[Trial]) -> str:
    """Write a row for each fault and place, its seeds together."""
    lines = [
        "| fault | at | times | exact | records in | lost | twice | sent again | caught up, s (median, worst) | ready |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for fault, place in dict.fromkeys((trial.fault, trial.place) for trial in trials):
        of = [trial for trial in trials if (trial.fault, trial.place) == (fault, place)]
        seconds = [trial.caught_up_s for trial in of if trial.caught_up_s is not None]
        times = f"{statistics.median(seconds):.1f}, {max(seconds):.1f}" if seconds else ""
        exact = sum(trial.verdict is Verdict.PASS for trial in of)
        unknown = sum(trial.verdict is Verdict.NONE for trial in of)
        numbers = [
            f"{exact}" + (f" ({unknown} no verdict)" if unknown else ""),
            f"{sum(trial.records for trial in of):,}",
            f"{sum(trial.lost for trial in of)}",
            f"{sum(trial.twice for trial in of)}",
            f"{sum(trial.sent_again for trial in of)}",
            times,
            f"{sum(trial.ready for trial in of)}",
        ]
        lines.append(f"| {fault} | {place:.0%} | {len(of)} | " + " | ".join(numbers) + " |")
    return "\n".join([*lines, "", sentence(summary(trials))]) + "\n"


def sentence(found: Summary) -> str:
    """Write the sum."""
    times = (
        f"caught up after {found.caught_up_median_s:.1f} s (median), {found.caught_up_worst_s:.1f} s (worst)"
        if found.caught_up_median_s is not None
        else "nothing caught up"
    )
    return (
        f"{found.injected} faults injected, {found.survived} survived, {found.failed} not, {found.no_verdict} trials without "
        f"a verdict; {found.records:,} records in, {found.lost} lost, {found.twice} counted twice; {times}."
    )


def write(trials: Sequence[Trial], folder: Path) -> None:
    """Write `faults.md` and `faults.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "faults.md").write_text(markdown(trials))
    content = {
        "machine": machine(),
        "summary": asdict(summary(trials)),
        "trials": [asdict(trial) for trial in trials],
    }
    (folder / "faults.json").write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
