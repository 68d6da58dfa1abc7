"""What every command begins with: the settings, completed by the local system's addresses, and one way to fail."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
import typer
import uvloop
from rich.console import Console

from pipeline import settings as settings_module
from pipeline.cli.local_services import with_keys
from pipeline.domain.poll import PollId
from pipeline.domain.record import is_id
from pipeline.domain.result import Result, merge
from pipeline.errors import AirtallyError, SettingError
from pipeline.ledger.reader import open_ledgers
from pipeline.local.edge_keys import known_edge_keys
from pipeline.local.state import read_state
from pipeline.settings import Settings

T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]

console = Console()
errors = Console(stderr=True)


def print_json(content: object) -> None:
    """Print for a program: keys in our order, two spaces."""
    print(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())  # noqa: T201


def settings() -> Settings:
    """Read the settings; what the environment does not give of addresses and keys is the local system's, if it runs."""
    found = settings_module.load()
    state = read_state(found.home)
    if state is None:
        return found
    addresses = state.addresses
    keys = known_edge_keys(found.home) if found.kafka in {None, addresses.kafka} else None
    found = found if keys is None else with_keys(found, keys)
    return found.model_copy(
        update={
            "kafka": found.kafka or addresses.kafka,
            "redis_url": found.redis_url or addresses.redis_url,
            "clickhouse_url": found.clickhouse_url or addresses.clickhouse_url,
        }
    )


def command(function: Callable[..., T]) -> Callable[..., T]:
    """Run a command, possibly a coroutine; say our own errors in one paragraph and exit with their status."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> T:
        try:
            outcome = function(*args, **kwargs)
            return _run(outcome) if asyncio.iscoroutine(outcome) else outcome
        except AirtallyError as error:
            errors.print(f"[bold red]{type(error).__name__.removesuffix('Error')}[/]: ", end="")
            errors.print(str(error), markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(error.exit_status) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return run


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    # As the policy, not only for this loop: Faust makes another in its consumer's thread, where the fetched bytes arrive.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    return asyncio.run(coroutine)


def poll_id(show: str, poll: str) -> PollId:
    """Check a poll's name.

    Raises:
        SettingError: it is not of the form of an id.
    """
    for name, value in (("SHOW", show), ("POLL", poll)):
        if not is_id(value):
            raise SettingError(f"{name} {value!r} is not an id: 1 to 63 of a-z, 0-9 and -, not beginning with -")
    return PollId(show, poll)


async def read_result(found: Settings, poll: PollId, *, windows: bool = True) -> Result | None:
    """Read and merge the result of a poll; None: no partition knows it."""
    async with open_ledgers(found) as reader:
        return merge(poll, await reader.read(poll, windows=windows))


def writable(file: Path, option: str = "--out") -> Path:
    """Make sure that a file can be written, before all the work for what is to stand in it.

    Raises:
        SettingError: it cannot.
    """
    if not os.access(file if file.exists() else file.parent, os.W_OK) or file.is_dir():
        raise _not_writable(file, option)
    return file


def write(file: Path, content: bytes, option: str = "--out") -> None:
    """Write a file.

    Raises:
        SettingError: it cannot be written.
    """
    try:
        file.write_bytes(content)
    except OSError as error:
        raise _not_writable(file, option) from error


def _not_writable(file: Path, option: str) -> SettingError:
    return SettingError(f"{file} cannot be written: name another by {option} (in a container, one in a mounted folder)")
