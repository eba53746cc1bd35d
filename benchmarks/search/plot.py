"""Times and recall by size, a line for each filter."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_DPI = 130
_STYLES = {"postgres": "-", "faiss hnsw": "--"}
_COLOURS = ("#1f5f8b", "#c1666b", "#4a7c59", "#8a6fae", "#b08d2f")


def draw(measured: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the PNG; its folder is made where it is missing."""
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    times, recall = figure.subplots(1, 2)
    selections = list(dict.fromkeys(speed["selection"] for each in measured for speed in each["speeds"]))
    for colour, selection in zip(_COLOURS, selections, strict=False):
        for engine, style in _STYLES.items():
            label = f"{engine}, {selection}"
            for axes, what in ((times, "p50_ms"), (recall, "recall")):
                _line(axes, measured, (engine, selection, what), label=label, color=colour, linestyle=style)
    times.set_yscale("log")
    times.set_ylabel("p50 of a search, ms")
    recall.set_ylabel("recall@50")
    for axes in (times, recall):
        axes.set_xscale("log")
        axes.set_xlabel("vectors")
        axes.grid(alpha=0.3)
    figure.legend(*times.get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the version of matplotlib, so that the same numbers are the same file.
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})


def _line(axes: Axes, measured: Sequence[Mapping[str, Any]], which: tuple[str, str, str], **look: Any) -> None:
    engine, selection, what = which
    points = [
        (each["size"], speed[what])
        for each in measured
        for speed in each["speeds"]
        if (speed["engine"], speed["selection"]) == (engine, selection)
    ]
    axes.plot([size for size, _ in points], [value for _, value in points], marker="o", **look)
