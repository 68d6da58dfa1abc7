"""`airtally poll`: open, close, final."""

import asyncio
from typing import Annotated

import msgspec
import typer

from pipeline.cli.context import command, console, poll_id, read_result, settings
from pipeline.cli.local import serving
from pipeline.clock import now_ms
from pipeline.domain import control
from pipeline.domain.poll import PollId, Status
from pipeline.domain.record import Marker, PollClosed, PollFinal, PollOpened
from pipeline.errors import PollError, SettingError, UnavailableError
from pipeline.log.publisher import Publisher
from pipeline.log.topics import check_topic
from pipeline.settings import Settings

NOTICE_S = (
    2.0  # closed_at lies this far ahead: every partition holds the marker before it can hold a vote that it excludes
)
GRACE_S = 3.0  # and the final marker waits this long after it, for votes that were cast in time and come late
FOLDED_S = 30.0  # how long a command waits for the tally to have folded what it sent

app = typer.Typer(
    no_args_is_help=True, help="Open, close and finalize polls: markers in the log, one in every partition."
)

Show = Annotated[str, typer.Argument(help="The show's id, e.g. bb21.")]
Poll = Annotated[str, typer.Argument(help="The poll's id, unique within the show, e.g. final.")]
At = Annotated[
    int | None,
    typer.Option(
        help="The instant, ms since the epoch. Give it to repeat a command that failed half way.", show_default=False
    ),
]
Wait = Annotated[bool, typer.Option(help="Wait until the tally has folded the marker in every partition.")]


@app.command("open")
@command
async def open_(  # noqa: PLR0913, PLR0917  # options of a command
    show: Show,
    poll: Poll,
    options: Annotated[str, typer.Option(help="Option ids, comma separated; a label may follow: ada=Ada Lovelace,bo")],
    votes_per_voter: Annotated[int, typer.Option(min=1, help="How many votes of one voter count.")] = 1,
    dedupe_horizon: Annotated[
        str | None,
        typer.Option(help="How long a vote id is remembered at least, e.g. 10m or 2h. Default: the whole poll."),
    ] = None,
    at: At = None,
    wait: Wait = True,
) -> None:
    """Open a poll. Its rules do not change afterwards.

    Example: airtally poll open bb21 final --options ada,bo,cy --votes-per-voter 10
    """
    found, name = settings(), poll_id(show, poll)
    wanted = _rules(
        {
            "show_id": show,
            "poll_id": poll,
            "opened_at": now_ms() if at is None else at,
            "options": [_option(text) for text in options.split(",")],
            "votes_per_voter": votes_per_voter,
            "dedupe_horizon_ms": None if dedupe_horizon is None else _duration_ms(dedupe_horizon),
        }
    )
    marker = control.opening(await read_result(found, name, windows=False), wanted)
    await send(found, marker)
    console.print(f"{show}/{poll} is open since {marker.opened_at}", highlight=False)
    if wait:
        await _folded(found, name, {Status.OPEN, Status.CLOSING, Status.FINAL})
    for line in serving(found, name, marker.options[0].id):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


@app.command("close")
@command
async def close(
    show: Show,
    poll: Poll,
    notice: Annotated[float, typer.Option(min=0.5, help="Seconds from now until voting ends.")] = NOTICE_S,
    at: At = None,
    wait: Wait = True,
) -> None:
    """End the voting, a moment from now: votes cast before that instant count, also when they arrive later."""
    found, name = settings(), poll_id(show, poll)
    wanted = PollClosed(show, poll, now_ms() + int(notice * 1000) if at is None else at)
    marker = control.closing(await read_result(found, name, windows=False), wanted)
    await send(found, marker)
    console.print(f"{show}/{poll} takes votes until {marker.closed_at}", highlight=False)
    if wait:
        await _folded(found, name, {Status.CLOSING, Status.FINAL})


@app.command("final")
@command
async def final(
    show: Show,
    poll: Poll,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds to wait after the close for votes that come late.")
    ] = GRACE_S,
    wait: Wait = True,
) -> None:
    """Make the result stand: nothing that comes after this counts."""
    found, name = settings(), poll_id(show, poll)
    before = await read_result(found, name, windows=False)
    if before is not None and before.closed_at is not None:
        wait_s = before.closed_at / 1000 + grace - now_ms() / 1000
        if wait_s > 0:
            console.print(
                f"waits {wait_s:.1f} s, until {grace:g} s after the close, for votes that come late", highlight=False
            )
            await asyncio.sleep(wait_s)
    await send(found, control.finalising(before, PollFinal(show, poll), now_ms()))
    if wait:
        await _folded(found, name, {Status.FINAL})
    console.print(f"{show}/{poll} is final: airtally result {show} {poll}", highlight=False)


async def send(found: Settings, marker: Marker) -> None:
    """Send a marker into every partition.

    Raises:
        TopicMismatchError: the topic has other partitions than this shell's settings say: the marker would miss some.
    """
    await check_topic(found)
    async with Publisher(found, linger_ms=0) as publisher:
        await publisher.publish_marker(marker)


async def _folded(found: Settings, name: PollId, statuses: set[Status]) -> None:
    """Wait until the ledgers show the marker, in every partition.

    Raises:
        UnavailableError: they do not within a bounded time. The marker is in the log all the same.
    """
    for _ in range(int(FOLDED_S * 10)):
        result = await read_result(found, name, windows=False)
        if result is not None and result.status in statuses:
            if result.conflicts:
                raise PollError(
                    f"partitions {list(result.conflicts)} have other markers than the first: two senders at once?"
                )
            if all(reading.poll is not None for reading in result.partitions):
                return
        await asyncio.sleep(0.1)
    raise UnavailableError(
        f"the marker is in the log, but the tally has not folded it everywhere within {FOLDED_S:.0f} s: does "
        "`airtally tally` run? Its /readyz tells"
    )


def _rules(fields: dict[str, object]) -> PollOpened:
    try:
        return msgspec.convert(fields, PollOpened)
    except msgspec.ValidationError as error:
        raise SettingError(f"these rules cannot be used: {error}") from None


def _option(text: str) -> dict[str, str]:
    option_id, _, label = text.strip().partition("=")
    return {"id": option_id, "label": label} if label else {"id": option_id}


_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _duration_ms(text: str) -> int:
    number = text.rstrip("msdh")
    unit = text[len(number) :]
    try:
        return int(float(number) * _UNITS_MS[unit])
    except (ValueError, KeyError):
        raise SettingError(
            f"--dedupe-horizon {text!r} is not a duration: give a number and s, m, h or d, e.g. 10m"
        ) from None
