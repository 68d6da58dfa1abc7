"""The `airtally` command: arguments, progress, tables. What it does lies in the stages."""

import typer

from pipeline import __version__
from pipeline.cli import edge_token, polls
from pipeline.cli.audit import audit
from pipeline.cli.certificates import certify, keygen, prove, verify
from pipeline.cli.context import console
from pipeline.cli.demo import demo
from pipeline.cli.doctor import doctor
from pipeline.cli.load import load
from pipeline.cli.local import down, status, up
from pipeline.cli.plan import plan
from pipeline.cli.rebuild import rebuild
from pipeline.cli.results import result
from pipeline.cli.services import archive, edge, init, live, tally
from pipeline.cli.simulate import simulate
from pipeline.cli.voids import reinstate, void

app = typer.Typer(
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
        console.print(__version__, highlight=False)
        raise typer.Exit


LOCAL, SERVICES, SHOW, PROOF = "On this machine", "Services", "A show", "Proof"
for function, panel in (
    (demo, LOCAL),
    (up, LOCAL),
    (down, LOCAL),
    (status, LOCAL),
    (doctor, LOCAL),
    (init, SERVICES),
    (tally, SERVICES),
    (archive, SERVICES),
    (live, SERVICES),
    (edge, SERVICES),
    (plan, SHOW),
    (simulate, SHOW),
    (load, SHOW),
    (result, SHOW),
    (audit, PROOF),
    (certify, PROOF),
    (verify, PROOF),
    (prove, PROOF),
    (keygen, PROOF),
    (rebuild, PROOF),
):
    app.command(rich_help_panel=panel)(function)
polls.app.command()(void)
polls.app.command()(reinstate)
app.add_typer(polls.app, name="poll", rich_help_panel=SHOW)
app.add_typer(edge_token.app, name="edge-token", rich_help_panel=SERVICES)


def main() -> None:
    """Run the command."""
    app()
