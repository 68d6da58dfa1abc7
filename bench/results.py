"""What was measured, as one page: `python -m bench.results` makes bench/RESULTS.md and bench/figures from bench/out."""

import shutil
from pathlib import Path

import typer

from bench.measuring import OUT, console

PAGE = Path(__file__).parent / "RESULTS.md"
FIGURES = Path(__file__).parent / "figures"

# What is in bench/out, by the name of its command, and what it is about.
MEASURED = {
    "compare": "Airtally and its peers, on the same log",
    "tally": "One tally worker",
    "archive": "One archive worker",
    "whole": "The whole at a steady rate, and a burst",
    "live": "The air",
    "live-readers": "The air, with thousands of readers",
    "audit": "The audit of a million records",
    "edge": "One edge",
    "memory": "Redis' memory",
    "recovery": "After a fault",
    "growth": "How cost grows",
    "model": "The queueing model against this machine",
}
OPTIONS = {"live-readers": "live --readers 5000"}  # where the command is more than a name


def main() -> None:
    """Put together what there is, and say what is missing."""
    lines = [
        "# Measured",
        "",
        "Every figure here was printed by the command above it, on the machine and at the time below it.",
        "",
    ]
    for name, title in MEASURED.items():
        command = OPTIONS.get(name, name)
        text = OUT / f"{name}.md"
        if not text.exists():
            console.print(f"python -m bench.{command} has not been run here: it is left out", highlight=False)
            continue
        figure = OUT / f"{name}.svg"
        lines += [f"## {title}", "", f"`python -m bench.{command}`", "", text.read_text().strip(), ""]
        if figure.exists():
            FIGURES.mkdir(exist_ok=True)
            shutil.copyfile(figure, FIGURES / figure.name)
            lines += [f"![{title}](figures/{figure.name})", ""]
    PAGE.write_text("\n".join(lines))


if __name__ == "__main__":
    typer.run(main)
