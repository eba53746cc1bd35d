"""The numbers of a study as Markdown: one table for each section of docs/quality.md."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from benchmarks.quality.content import Content, find
from benchmarks.quality.numbers import COLUMNS
from benchmarks.quality.study import ADAPTER, ADAPTER_ALONE, BASE, BASE_ALONE, DEFAULT
from benchmarks.report import table
from retrieval.datasets.synthcir import SAME_SCENE

_COMPARED = ("R@1", "R@10")
_ATTRIBUTES: Mapping[str, str] = MappingProxyType(
    {
        "own": "all of the catalog's",
        "degraded": "30 % missing or synonyms",
        "none": "none",
        "unnamed": "none, and no general words for details, sizes and finishes",
        "unknown": "none, and no general word for anything that varies",
    }
)


def strategies(content: Content) -> str:
    """Every strategy, with and without the judge."""
    rows = [
        (
            _code(each["strategy"]),
            "1 + 2" if each["judge"] else "1",
            *(_cell(each["metrics"][name]) for name in COLUMNS),
        )
        for each in content["rows"]
        if each["attributes"] == "own" and each["judge"] in (None, ADAPTER)
    ]
    return table(("strategy", "stages", *COLUMNS), rows)


def against_union(content: Content) -> str:
    """The intersection minus the best union, by what composition knows of the catalog."""
    rows = []
    for use, differences in content["comparisons"]["intersection_minus_union"].items():
        best = content["dev"]["best_union"]
        union = best.get(use, best["own"])
        recalls = [_percent(find(content, name, attributes=use), "R@1") for name in (union, DEFAULT)]
        parts = [differences.get(part) for part in ("all", SAME_SCENE)]
        gains = ["-" if part is None else _gain(part[name]) for part in parts for name in _COMPARED]
        rows.append((_ATTRIBUTES[use], _code(union), *recalls, *gains))
    headers = ("attributes", "best union on dev", "its R@1", "intersection's R@1")
    compared = [f"{name}, {where}" for where in ("all queries", "same-scene") for name in _COMPARED]
    return table((*headers, *compared), rows)


def slices(content: Content) -> str:
    """R@1 of the best union and of the intersection by kind of query."""
    union = content["dev"]["best_union"]["own"]
    shown = [find(content, union), find(content, DEFAULT), find(content, DEFAULT, ADAPTER)]
    rows = [
        (
            label.removeprefix("style:"),
            first["queries"],
            *(_cell(each["slices"][label]["metrics"]["R@1"]) for each in shown),
        )
        for label, first in shown[0]["slices"].items()
    ]
    return table(("queries", "number", f"{_code(union)}", _code(DEFAULT), f"{_code(DEFAULT)}, stages 1 + 2"), rows)


def ablations(content: Content) -> str:
    """Ways to build the intersection, each at its best share of the text: chosen on dev, reported on test."""
    dev = content["dev"]["intersections"]
    rows = []
    for name in (DEFAULT, *content["dev"]["best_ablations"]):
        measured = find(content, name)
        trapped = measured["slices"].get(SAME_SCENE)
        on_trap = "-" if trapped is None else _cell(trapped["metrics"]["R@1"])
        rows.append((_code(name), f"{dev[name]:.1f}", _cell(measured["metrics"]["R@1"]), on_trap))
    return table(("", "R@1 on dev", "R@1 on test", "R@1 on test, same-scene"), rows)


def judge(content: Content) -> str:
    """The second stage on the intersection: the adapter, and the base model without it."""
    names = {
        None: "stage 1",
        ADAPTER: "base + LoRA adapter",
        BASE: "base without the adapter",
        ADAPTER_ALONE: "base + LoRA adapter, judge alone",
        BASE_ALONE: "base without the adapter, judge alone",
    }
    found = {name: find(content, DEFAULT, who) for who, name in names.items()}
    rows = [
        (name, "-" if each["weight"] is None else f"{each['weight']:g}", *(_cell(each["metrics"][c]) for c in COLUMNS))
        for name, each in found.items()
        if each is not None
    ]
    compared = content["comparisons"]
    lines = [f"Stage 2 gains {_gain(compared['stage2_gain']['all']['R@1'])} points of R@1 on stage 1"]
    removed = content["stage2_errors_removed"]
    if removed is not None:
        lines.append(f", which is {_cell(removed)} % of its errors")
    if "adapter_minus_base" in compared:
        lines.append(f"; the adapter gains {_gain(compared['adapter_minus_base']['all']['R@1'])} on the base")
    return table(("judge", "w", *COLUMNS), rows) + "\n\n" + "".join(lines) + "."


def explanations(content: Content) -> str:
    """How often explanations say what they should."""
    shares = ("scene_dropped", "category_kept", "scene_kept")
    rows = [
        (_ATTRIBUTES[use], *(f"{found[name]:.1f} %" if name in found else "-" for name in shares))
        for use, found in content["explanations"].items()
    ]
    headers = (
        "attributes",
        "scene dropped (same-scene queries)",
        "category kept (same-scene queries)",
        "scene kept (keep-the-scene queries)",
    )
    return table(headers, rows)


SECTIONS: Mapping[str, Callable[[Content], str]] = MappingProxyType(
    {
        "strategies": strategies,
        "against-union": against_union,
        "slices": slices,
        "ablations": ablations,
        "judge": judge,
        "explanations": explanations,
    }
)
"""Name of the markers -> what stands between them."""


def _cell(measured: Mapping[str, Any]) -> str:
    low, high = measured["ci95"]
    return f"{measured['percent']:.1f} ({low:.1f}..{high:.1f})"


def _gain(measured: Mapping[str, Any]) -> str:
    low, high = measured["ci95"]
    return f"{measured['percent']:+.1f} ({low:+.1f} to {high:+.1f})"


def _percent(row: Any, name: str) -> str:
    return f"{row['metrics'][name]['percent']:.1f}"


def _code(name: str) -> str:
    return f"`{name}`"
