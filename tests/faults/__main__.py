"""The long form of the campaign: `python -m tests.faults --rounds 4`, or `make faults`."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.faults import campaign, report
from tests.faults.catalog import FAULTS, PLACES
from tests.faults.trial import Trial
from tests.faults.verdict import Verdict

OUT = Path("bench/out")

console = Console(soft_wrap=True, highlight=False)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Shows for each fault and place; each has a seed of its own.")] = 1,
    seed: Annotated[int, typer.Option(help="The first round's seed; each round adds one.")] = 1,
    only: Annotated[str, typer.Option(help="Only faults whose name has this in it.")] = "",
    place: Annotated[
        list[float] | None, typer.Option(help="Where in the show, 0 to 1. Default: 0.1, 0.5, 0.9.")
    ] = None,
    lanes: Annotated[int, typer.Option(min=1, help="Trials side by side, each on servers of its own.")] = 3,
    out: Annotated[Path, typer.Option(help="Where to write the report.")] = OUT,
    keep: Annotated[Path | None, typer.Option(help="A new folder for data and logs, which are kept there.")] = None,
) -> None:
    """Inject faults into running shows on real servers, and count what was lost and what was counted twice.

    Exit status 0: every show was counted exactly, in Redis and in ClickHouse. 1: one was not. 3: of one nothing is known,
    since the harness or its servers had trouble. Writes faults.md and faults.json.
    """
    faults = [fault for fault in FAULTS if only.lower() in fault.name.lower()]
    if not faults:
        raise typer.BadParameter(f"no fault has {only!r} in its name: {', '.join(fault.name for fault in FAULTS)}")
    planned = campaign.plan(faults, place or PLACES, range(seed, seed + rounds))
    began, done = time.monotonic(), list[Trial]()

    def tell(trial: Trial) -> None:
        done.append(trial)
        report.write(done, out)  # each time: a campaign that is interrupted has found something too
        caught_up = "-" if trial.caught_up_s is None else f"{trial.caught_up_s:.1f} s"
        console.print(
            f"{len(done):>4}/{len(planned)}  {trial.verdict:10} {trial.fault} at {trial.place:.0%}, seed {trial.seed}: "
            f"{trial.records:,} in, {trial.lost} lost, {trial.twice} twice, caught up after {caught_up}",
            style="" if trial.verdict is Verdict.PASS else "bold red" if trial.verdict is Verdict.FAIL else "yellow",
        )
        for line in trial.lines:
            console.print(f"           {line}", markup=False)

    with tempfile.TemporaryDirectory(prefix="airtally-faults-") as folder:
        trials = asyncio.run(campaign.run(planned, keep or Path(folder), lanes=lanes, on_trial=tell))
    report.write(trials, out)
    console.print(f"\n{report.markdown(trials)}", markup=False)
    console.print(f"{time.monotonic() - began:,.0f} s; {out}/faults.md, {out}/faults.json")
    raise typer.Exit(report.summary(trials).exit_status)


if __name__ == "__main__":
    typer.run(main)
