"""The `airtally` command: arguments, progress, tables. What it does lies in the stages."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from pipeline import __version__

LOCAL, SERVICES, SHOW, PROOF = "On this machine", "Services", "A show", "Proof"

# Where each command is, and under which title the help has it. A module is imported when its command is called, or the help of
# all: a worker has no use for what the other commands bring, which is 1.5 s and 60 MB.
COMMANDS = {
    "demo": ("demo", LOCAL),
    "up": ("local", LOCAL),
    "down": ("local", LOCAL),
    "status": ("local", LOCAL),
    "doctor": ("doctor", LOCAL),
    "init": ("services", SERVICES),
    "tally": ("services", SERVICES),
    "archive": ("services", SERVICES),
    "live": ("services", SERVICES),
    "edge": ("services", SERVICES),
    "edge-token": ("edge_token", SERVICES),
    "plan": ("plan", SHOW),
    "simulate": ("simulate", SHOW),
    "load": ("load", SHOW),
    "result": ("results", SHOW),
    "poll": ("voids", SHOW),  # which adds its own to those of `polls`
    "audit": ("audit", PROOF),
    "certify": ("certificates", PROOF),
    "verify": ("certificates", PROOF),
    "prove": ("certificates", PROOF),
    "keygen": ("certificates", PROOF),
    "rebuild": ("rebuild", PROOF),
}


class _Commands(TyperGroup):
    """The commands, each made when it is asked for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names: dict[str, Any] = dict.fromkeys(COMMANDS)
        self.commands = names  # of which it tells who has mistyped one

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # its base's names
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        place, panel = COMMANDS[cmd_name]
        module = import_module(f"pipeline.cli.{place}")
        made = typer.Typer(add_completion=False)
        if hasattr(module, "app"):  # a group of commands
            made.add_typer(module.app, name=cmd_name, rich_help_panel=panel)
            return typer.main.get_group(made).commands[cmd_name]
        made.command(cmd_name, rich_help_panel=panel)(getattr(module, cmd_name))
        return typer.main.get_command(made)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # they would show votes
    help=(
        "Counts the votes of a live TV show, exactly, while the show is on the air.\n\n"
        "Begin with `airtally demo` (a whole show on this machine), or with `airtally up` and then `airtally poll open`. "
        "Every service is configured by the environment: AIRTALLY_KAFKA, AIRTALLY_REDIS_URL, AIRTALLY_CLICKHOUSE_URL; what "
        "is not given there is taken from the local system that `airtally up` has started in this folder.\n\n"
        "Exit status: 0 good, 1 the answer is no (a result differs, a poll forbids it), 2 something must be configured, "
        "3 a part does not answer."
    ),
)


@app.callback(invoke_without_command=True)
def _main(*, version: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command."""
    app()
