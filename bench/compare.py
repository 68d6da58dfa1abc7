"""Airtally and its peers on the same log: `python -m bench.compare --records 1000000 --rounds 3`; `--only airtally,flink-1`.

One topic is filled for each round, and everybody counts it, one at a time, in rotation. ``bench.peers`` says what the work is.
Each answer is checked against the oracle, cell by cell; one that is wrong is disqualified. Voters are a fifth of the votes.
"""

import asyncio
import os
from dataclasses import asdict
from typing import Annotated

import typer

from bench.crowd import Crowd, fill
from bench.measuring import console, settings_of, system
from bench.peers.install import NotInstalledError
from bench.peers.roster import PEERS, Peer
from bench.peers.run import FailedError, measure
from bench.peers.table import Standing, write_standings
from pipeline.local.stack import LocalStack, Part
from pipeline.settings import Settings
from pipeline.show.expectation import Expectation

VOTES_PER_VOTER = 10


def main(
    records: int = 1_000_000,
    slow_records: Annotated[
        int, typer.Option(help="The log of those that are slow by an order of magnitude.")
    ] = 50_000,
    rounds: int = 3,
    partitions: int = 8,
    only: Annotated[str, typer.Option(help="Names, with commas; all if not given.")] = "",
) -> None:
    """Measure everybody in rotation, and write table and plot."""
    names = set(filter(None, only.split(",")))
    unknown = names - {peer.name for peer in PEERS}
    if unknown:
        raise typer.BadParameter(f"unknown {sorted(unknown)}; there are {[peer.name for peer in PEERS]}")
    name = "compare-some" if names else "compare"  # one page has both
    standings = [_prepare(peer) for peer in PEERS if not names or peer.name in names]
    loads: list[float] = []  # of the machine, by others
    with system(Part.KAFKA, Part.REDIS) as stack:
        for number in range(rounds):
            loads.append(round(os.getloadavg()[0], 1))
            logs = {
                slow: _log(stack, f"compare-{number}-{length}", length, partitions)
                for slow, length in ((False, records), (True, slow_records))
                if any(standing.peer.slow is slow for standing in standings)
            }
            start = number * len(standings) // rounds
            how = {
                "records": records,
                "short log": slow_records,
                "partitions": partitions,
                "rounds": number + 1,
                "load before each round": loads,
            }
            for standing in standings[start:] + standings[:start]:
                _run(stack, standing, *logs[standing.peer.slow])
                write_standings(name, standings, how, show=False)  # what was measured is kept, whatever comes
    write_standings(name, standings, how)


def _prepare(peer: Peer) -> Standing:
    console.print(f"{peer.title}: preparing", highlight=False)
    try:
        return Standing(peer, peer.command())
    except NotInstalledError as error:
        console.print(f"{peer.title}: cannot be installed here. {error}", highlight=False, style="red")
        return Standing(peer, None, failed=f"cannot be installed here: {str(error).splitlines()[0]}")


def _log(stack: LocalStack, topic: str, records: int, partitions: int) -> tuple[Settings, list[Expectation]]:
    found = settings_of(stack, topic, partitions=partitions)
    crowd = Crowd(records=records, voters=records // 5, votes_per_voter=VOTES_PER_VOTER)  # some come past their limit
    return found, asyncio.run(fill(found, crowd))


def _run(stack: LocalStack, standing: Standing, found: Settings, expected: list[Expectation]) -> None:
    if standing.command is None:
        return
    title = standing.peer.title
    try:
        run = asyncio.run(measure(stack, found, standing.peer, standing.command, expected, VOTES_PER_VOTER))
    except FailedError as error:
        console.print(f"{title}: FAILED: {error}", highlight=False, markup=False, style="red")
        standing.failed = str(error).splitlines()[0]
        return
    standing.runs.append(run)
    if run.wrong:
        console.print(f"{title}: WRONG, disqualified", *run.wrong[:10], sep="\n  ", highlight=False, style="red")
    console.print(f"{title}: {run.votes_per_s:,.0f} votes/s, {asdict(run)}", highlight=False, markup=False)


if __name__ == "__main__":
    typer.run(main)
