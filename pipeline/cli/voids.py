"""`airtally poll void` and `poll reinstate`: votes struck from the official result, and the way back."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from pipeline.cli.context import command, console, poll_id, read_result, settings
from pipeline.cli.polls import FOLDED_S, Poll, Show, Wait, app, send
from pipeline.domain import control
from pipeline.domain.poll import PollId
from pipeline.domain.record import VotesReinstated, VotesVoided
from pipeline.domain.void import Void
from pipeline.errors import PollError, SettingError, UnavailableError
from pipeline.settings import Settings

VoidName = Annotated[str, typer.Argument(metavar="VOID", help="A name for this decision, never used for another one.")]
ReasonText = Annotated[str, typer.Option(help="Why. It stands in audit and certificate.")]
AuthorText = Annotated[str, typer.Option(help="Who decided it.")]
Many = list[str] | None

T = TypeVar("T")


@app.command()
@command
async def void(  # noqa: PLR0913, PLR0917  # options of a command
    show: Show,
    poll: Poll,
    name: VoidName,
    reason: ReasonText,
    author: AuthorText,
    edge: Annotated[Many, typer.Option(help="Votes that this edge received. May be given several times.")] = None,
    channel: Annotated[Many, typer.Option(help="Votes that came by this channel. Also several times.")] = None,
    voter: Annotated[Many, typer.Option(help="Votes of this voter (pseudonym). Also several times.")] = None,
    voters_file: Annotated[Path | None, typer.Option(help="A file with a voter on each line, 1,000 at most.")] = None,
    voters_from: Annotated[str | None, typer.Option(help="First voter of a range, in the order of bytes.")] = None,
    voters_to: Annotated[str | None, typer.Option(help="Last voter of a range.")] = None,
    cast_from: Annotated[int | None, typer.Option(help="Votes cast at this instant (ms) or later.")] = None,
    cast_before: Annotated[int | None, typer.Option(help="Votes cast before this instant (ms).")] = None,
    wait: Wait = True,
) -> None:
    """Strike counted votes from the official result: those that meet every condition given. At any time, also after final.

    Nothing that was counted changes: `airtally audit` shows counted, struck and official. `airtally poll reinstate` takes it
    back. A command that failed half way is repeated with the same words.

    Example: airtally poll void bb21 final edge-7-leak --edge edge-7 --reason "its token was published" --author "A. Lovelace"
    """
    voters = [*(voter or ()), *(_lines(voters_file) if voters_file else ())]
    given: dict[str, Any] = {
        "edge_ids": edge or None,
        "channels": channel or None,
        "voter_ids": voters or None,
        "voters_from": voters_from,
        "voters_to": voters_to,
        "cast_from": cast_from,
        "cast_before": cast_before,
    }
    conditions = {field: value for field, value in given.items() if value is not None}
    found, name_of = settings(), poll_id(show, poll)
    wanted = _record(VotesVoided, show, poll, name, reason=reason, author=author, **conditions)
    await send(found, control.voiding(await read_result(found, name_of, windows=False), wanted))
    if wait:
        await _folded(found, name_of, wanted)
    console.print(
        f"struck, if counted: votes that meet {', '.join(conditions)}; `airtally audit {show} {poll}` says how many"
    )


@app.command()
@command
async def reinstate(  # noqa: PLR0913, PLR0917  # options of a command
    show: Show, poll: Poll, name: VoidName, reason: ReasonText, author: AuthorText, wait: Wait = True
) -> None:
    """Take a void back, for good: its votes are in the official result again, unless another void strikes them too."""
    found, name_of = settings(), poll_id(show, poll)
    wanted = _record(VotesReinstated, show, poll, name, reason=reason, author=author)
    await send(found, control.reinstating(await read_result(found, name_of, windows=False), wanted))
    if wait:
        await _folded(found, name_of, wanted)
    console.print(f"void {name} is taken back")


def _record(kind: type[T], show: str, poll: str, name: str, **fields: object) -> T:
    try:
        return msgspec.convert({"show_id": show, "poll_id": poll, "void_id": name, **fields}, kind)
    except msgspec.ValidationError as error:
        raise SettingError(f"this void cannot be used: {error}") from None


def _marker(voids: tuple[Void, ...], wanted: VotesVoided | VotesReinstated) -> VotesVoided | VotesReinstated | None:
    """Find the marker that a partition has in the place of this one."""
    void = next((void for void in voids if void.decision.void_id == wanted.void_id), None)
    if void is None:
        return None
    return void.decision if isinstance(wanted, VotesVoided) else void.reinstated


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"--voters-file {file} cannot be read: {error}") from error


async def _folded(found: Settings, poll: PollId, wanted: VotesVoided | VotesReinstated) -> None:
    """Wait until every partition has the void, or its end, as it was sent.

    Raises:
        PollError: some have another by that name.
        UnavailableError: they have none within a bounded time. The marker is in the log all the same.
    """
    for _ in range(int(FOLDED_S * 10)):
        result = await read_result(found, poll, windows=False)
        if result is not None:
            has = {each.partition: _marker(each.poll.voids if each.poll else (), wanted) for each in result.partitions}
            if others := [partition for partition, marker in has.items() if marker not in (None, wanted)]:
                raise PollError(
                    f"partitions {others} have void {wanted.void_id} with other words or conditions: two senders at once? "
                    f"`airtally audit {' '.join(poll)}` says what to do"
                )
            if None not in has.values():
                return
        await asyncio.sleep(0.1)
    raise UnavailableError(
        f"the marker is in the log, but the tally has not folded it everywhere within {FOLDED_S:.0f} s: does "
        "`airtally tally` run? Its /readyz tells"
    )
