"""Charts as SVG files, in one style."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from cycler import cycler
from matplotlib import pyplot as plt  # after the choice of what it draws with
from matplotlib.figure import Figure

COLOURS = ("#1f6f8b", "#e07a5f", "#8d99ae", "#3d405b", "#81b29a")

mpl.rcParams.update({
    "svg.hashsalt": "airtally",  # the same figures give the same file
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.prop_cycle": cycler(color=COLOURS),
})  # fmt: skip

Panels = Mapping[str, Mapping[str, Sequence[Sequence[float]]]]


def bars(path: Path, names: Sequence[str], panels: Panels) -> None:
    """Draw horizontal bars, a panel for each measure: for each part of it and each name some runs, of which the median counts.

    Parts are stacked; a measure of one part shows the spread of its runs.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels) + 2, 0.42 * len(names) + 1), sharey=True)
    for axis, (title, parts) in zip(axes, panels.items(), strict=True):
        left = [0.0] * len(names)
        for part, runs in parts.items():
            medians = [statistics.median(each) for each in runs]
            axis.barh(names, medians, left=left, label=part or None, height=0.7)
            left = [before + more for before, more in zip(left, medians, strict=True)]
        if len(parts) == 1:
            (runs,) = parts.values()
            below = [statistics.median(each) - min(each) for each in runs]
            above = [max(each) - statistics.median(each) for each in runs]
            axis.errorbar(left, names, xerr=[below, above], fmt="none", ecolor="#333", capsize=2, linewidth=1)
        else:
            axis.legend(frameon=False)
        axis.set_title(title)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.tick_params(axis="x", labelsize=7)
    _save(figure, path)


def lines(path: Path, across: str, panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]]) -> None:
    """Draw lines over a common x axis, a panel under the other: for each panel its lines' xs and ys."""
    figure, axes = plt.subplots(len(panels), 1, figsize=(9, 2.3 * len(panels) + 0.5), sharex=True, squeeze=False)
    for axis, (title, drawn) in zip(axes[:, 0], panels.items(), strict=True):
        for name, (xs, ys) in drawn.items():
            axis.plot(xs, ys, label=name or None, linewidth=1.2)
        axis.set_title(title)
        axis.set_ylim(bottom=0)
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        if any(drawn):
            axis.legend(frameon=False, loc="upper left")
    axes[-1, 0].set_xlabel(across)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
