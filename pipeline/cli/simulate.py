"""`airtally simulate`: votes into an open poll, and what an exact count must say of them."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.cli.context import command, console, errors, poll_id, read_result, settings, writable, write
from pipeline.cli.playing import watch
from pipeline.domain.poll import Status
from pipeline.errors import PollError
from pipeline.log.publisher import Publisher
from pipeline.log.topics import check_topic
from pipeline.show.player import Player
from pipeline.show.script import Popularity, Script, Shares


@command
async def simulate(  # noqa: PLR0913, PLR0917  # options of a command
    show: Annotated[str, typer.Argument(help="The show's id.")],
    poll: Annotated[str, typer.Argument(help="The poll's id: an open poll.")],
    rate: Annotated[int, typer.Option(min=1, help="Records per second.")] = 5_000,
    duration: Annotated[float, typer.Option(min=0.1, help="Seconds.")] = 20.0,
    voters: Annotated[int, typer.Option(min=1, help="How many viewers vote.")] = 100_000,
    repeat: Annotated[float, typer.Option(min=0, max=0.5, help="Share of votes that are sent again.")] = 0.04,
    seed: Annotated[int, typer.Option(help="The same seed gives the same votes (at other instants).")] = 1,
    expect: Annotated[Path | None, typer.Option(help="Where to write the oracle's expectation, as JSON.")] = None,
) -> None:
    """Publish simulated votes into an open poll: ordinary ones, repeats, votes past the limit, and every kind of bad record.

    Example: airtally simulate bb21 final --rate 20000 --duration 30 --expect expected.json
    """
    found, name = settings(), poll_id(show, poll)
    if expect is not None:
        writable(expect, "--expect")
    await check_topic(found)
    read = await read_result(found, name, windows=False)
    if read is None or read.status is not Status.OPEN:
        raise PollError(
            f"{show}/{poll} is unknown: open it by `airtally poll open`"
            if read is None
            else f"{show}/{poll} is {read.status}: open another one by `airtally poll open`"
        )
    if read.total:
        errors.print(
            "[yellow]the poll has votes already: the expectation is of the votes sent here, from other voters[/]"
        )
    script = Script(
        show_id=show,
        poll_id=poll,
        options=tuple(Popularity(option.id, 1 + index % 3) for index, option in enumerate(read.rules.options)),
        records=max(1, round(rate * duration)),
        voters=voters,
        votes_per_voter=read.rules.votes_per_voter,
        duration_s=duration,
        shares=Shares(repeats=repeat),
    )
    columns = (
        TextColumn("sent"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}/s"),
        TimeRemainingColumn(),
    )
    async with Publisher(found) as publisher:
        player = Player(script, seed, publisher)
        with Progress(*columns, console=errors) as bar:
            task = bar.add_task("sent", total=script.records, rate="0")
            async with watch(player, lambda sent, per_s: bar.update(task, completed=sent, rate=f"{per_s:,}")):
                expected = await player.play(opened_at=read.rules.opened_at, closes=False)
    console.print(
        f"{expected.records:,} records acknowledged, {expected.counted:,} of them must count", highlight=False
    )
    if expect is not None:
        write(expect, expected.to_json(), "--expect")
        console.print(f"expectation: {expect}", highlight=False)
