"""Reading the numbers of a study: its rows by what they are about, and the few that sum it up."""

from collections.abc import Mapping
from typing import Any

from benchmarks.quality.study import ADAPTER, BASE, DEFAULT

Content = Mapping[str, Any]


def find(content: Content, strategy: str, judge: str | None = None, *, attributes: str = "own") -> Any:
    """The row of a strategy, or None when it was not measured."""
    wanted = (strategy, attributes, judge)
    rows = (each for each in content["rows"] if (each["strategy"], each["attributes"], each["judge"]) == wanted)
    return next(rows, None)


def summarise(content: Content) -> dict[str, Any]:
    """The numbers that a reader looks for first, in percent; None for what was not measured."""
    union = content["dev"]["best_union"]["own"]
    compared = content["comparisons"]
    above_union = compared["intersection_minus_union"]
    removed = content["stage2_errors_removed"]
    found = {
        "best_union": union,
        "best_union_r1": _recall(find(content, union)),
        "intersection_r1": _recall(find(content, DEFAULT)),
        "intersection_minus_union_r1_ci95": above_union["own"]["all"]["R@1"]["ci95"],
        "intersection_minus_union_r1_ci95_noattr": above_union["none"]["all"]["R@1"]["ci95"],
        "scene_dropped_share": content["explanations"]["own"].get("scene_dropped"),
        "stage1_r1": _recall(find(content, DEFAULT)),
        "stage2_r1": _recall(find(content, DEFAULT, ADAPTER)),
        "stage2_gain_r1": compared["stage2_gain"]["all"]["R@1"]["percent"],
        "stage2_errors_removed_share": removed and removed["percent"],
        "base_without_lora_r1": _recall(find(content, DEFAULT, BASE)),
    }
    return {name: _short(value) for name, value in found.items()}


def _short(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_short(each) for each in value]
    return round(value, 2) if isinstance(value, float) else value


def _recall(row: Any) -> float | None:
    return None if row is None else row["metrics"]["R@1"]["percent"]
