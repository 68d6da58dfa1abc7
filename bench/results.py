"""What was measured, as one page: `python -m bench.results` puts what is in bench/out into bench/RESULTS.md and bench/figures.

What was not measured since stays on the page as it is: each part says when and where its figures were printed.
"""

import shutil
from pathlib import Path

import orjson
import typer

from bench.measuring import OUT, console

PAGE = Path(__file__).parent / "RESULTS.md"
FIGURES = Path(__file__).parent / "figures"

# What is in bench/out, by the name of its command, and what it is about.
MEASURED = {
    "compare": "Airtally and its peers, on the same log",
    "compare-some": "Airtally and the nearest of them, once more",
    "tally": "One tally worker",
    "archive": "One archive worker",
    "whole": "The whole at a steady rate, and a burst",
    "live": "The air",
    "live-readers": "The air, with thousands of readers",
    "audit": "The audit of a million records",
    "edge": "One edge",
    "edge-sockets": "One edge, and as many WebSockets as it takes",
    "memory": "Redis' memory",
    "recovery": "After a fault",
    "growth": "How cost grows",
    "model": "The queueing model against this machine",
}


def main() -> None:
    """Put together what there is, and say what stays as it was."""
    before = _parts(PAGE.read_text()) if PAGE.exists() else {}
    lines = [
        "# Measured",
        "",
        "Every figure here was printed by the command above it, on the machine and at the time below it; what was measured at",
        "different times may show different states of the code.",
        "",
    ]
    for name, title in MEASURED.items():
        text = OUT / f"{name}.md"
        if not text.exists():
            what = "stays as it is" if title in before else "is left out"
            console.print(f"{title}: not measured here, {what}", highlight=False)
            lines += before.get(title, [])
            continue
        command = orjson.loads((OUT / f"{name}.json").read_bytes())["machine"]["command"]
        figure = OUT / f"{name}.svg"
        lines += [f"## {title}", "", f"`{command}`", "", text.read_text().strip(), ""]
        if figure.exists():
            FIGURES.mkdir(exist_ok=True)
            shutil.copyfile(figure, FIGURES / figure.name)
            lines += [f"![{title}](figures/{figure.name})", ""]
    PAGE.write_text("\n".join(lines))


def _parts(page: str) -> dict[str, list[str]]:
    """Give the lines of each part of a page, by its title."""
    parts: dict[str, list[str]] = {}
    title = ""
    for line in page.splitlines():
        title = line.removeprefix("## ") if line.startswith("## ") else title
        parts.setdefault(title, []).append(line)
    return {title: [*"\n".join(lines).strip().splitlines(), ""] for title, lines in parts.items()}


if __name__ == "__main__":
    typer.run(main)
