"""What was measured, as one page: `python -m bench.results` makes bench/RESULTS.md and bench/figures from bench/out."""

import shutil
from pathlib import Path

import typer

from bench.measuring import OUT, console

PAGE = Path(__file__).parent / "RESULTS.md"
FIGURES = Path(__file__).parent / "figures"

# The file in bench/out: the command that writes it, and what it is about.
MEASURED = {
    "compare": ("compare", "Airtally and its peers, on the same log"),
    "tally": ("tally", "One tally worker"),
    "archive": ("archive", "One archive worker"),
    "whole": ("whole", "The whole at a steady rate, and a burst"),
    "live": ("live", "The air"),
    "live-readers": ("live --readers 5000", "The air, with thousands of readers"),
    "audit": ("audit", "The audit of a million records"),
    "edge": ("edge", "One edge"),
    "memory": ("memory", "Redis' memory"),
    "recovery": ("recovery", "After a fault"),
    "growth": ("growth", "How cost grows"),
    "model": ("model", "The queueing model against this machine"),
}


def main() -> None:
    """Put together what there is, and say what is missing."""
    lines = [
        "# Measured",
        "",
        "Every figure here was printed by the command above it, on the machine and at the time below it.",
        "",
    ]
    for name, (command, title) in MEASURED.items():
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
