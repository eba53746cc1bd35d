"""The numbers of a study as a picture: all strategies on test, and the unions on dev by the text's share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.quality.content import Content, find
from benchmarks.quality.study import ADAPTER, DEFAULT

_STAGES = ((None, "stage 1", "#9db4c8"), (ADAPTER, "stages 1 + 2", "#1f5f8b"))
_BAR = 0.4
_DPI = 130


def draw(content: Content, path: Path) -> None:
    """Write the PNG; its folder is made where it is missing."""
    names = list(dict.fromkeys(each["strategy"] for each in content["rows"] if each["attributes"] == "own"))
    figure = Figure(figsize=(12, 1.6 + 0.36 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    on_test, on_dev = figure.subplots(1, 2, width_ratios=(3, 2))
    _strategies(on_test, content, names)
    figure.legend(*on_test.get_legend_handles_labels(), loc="outside upper left", ncols=len(_STAGES))
    _unions(on_dev, content["dev"])
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the version of matplotlib, so that the same numbers are the same file.
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})


def _strategies(axes: Axes, content: Content, names: list[str]) -> None:
    for number, (judge, label, colour) in enumerate(_STAGES):
        found = [find(content, name, judge) for name in names]
        measured = [each["metrics"]["R@1"] for each in found]
        places = [place + (number - 0.5) * _BAR for place in range(len(names))]
        axes.barh(places, _percents(measured), _BAR, xerr=_reach(measured), label=label, color=colour, ecolor="#444444")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("R@1 on test, %, with 95 % intervals")
    axes.set_axisbelow(True)
    axes.grid(axis="x", alpha=0.3)


def _unions(axes: Axes, dev: Mapping[str, Any]) -> None:
    curves: dict[str, list[tuple[float, float]]] = {}
    for name, recall in dev["unions"]["own"].items():
        kind, _, share = name.rpartition("-")
        curves.setdefault(kind, []).append((float(share), recall))
    for kind, points in curves.items():
        axes.plot(*zip(*points, strict=True), label=kind)
    axes.axhline(dev["intersections"][DEFAULT], color="black", linestyle="--", label=DEFAULT)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 100)
    axes.set_xlabel("share of the text in the union")
    axes.set_ylabel("R@1 on dev, %")
    axes.grid(alpha=0.3)
    axes.legend()


def _percents(measured: list[Mapping[str, Any]]) -> list[float]:
    return [each["percent"] for each in measured]


def _reach(measured: list[Mapping[str, Any]]) -> list[list[float]]:
    """From the bar's end to both ends of the interval, never below 0."""
    down = [max(each["percent"] - each["ci95"][0], 0.0) for each in measured]
    return [down, [max(each["ci95"][1] - each["percent"], 0.0) for each in measured]]
