"""Evaluations as numbers: metrics of a row with its slices, and differences of two rows. Percent throughout."""

from collections.abc import Callable, Mapping
from typing import Any

from retrieval.datasets.synthcir import SAME_SCENE
from retrieval.evaluate.protocols import Ranked
from retrieval.evaluate.report import Rows, difference, labels, metric_rows, plain, summary
from retrieval.evaluate.run import Answer, Evaluation
from retrieval.evaluate.statistics import mean

COLUMNS = ("R@1", "R@5", "R@10", "R@50", "Rsubset@1", "mAP@10")
SLICE_COLUMNS = ("R@1", "R@10", "Rsubset@1")

Stage = Callable[[Answer], Ranked]
Found = tuple[Evaluation, Stage]
"""Answers, and the ranking of each that counts."""


def row(evaluation: Evaluation, stage: Stage) -> dict[str, Any]:
    """`queries`, `metrics` with intervals, and `slices` by label."""
    slices = {label: _measured(evaluation, stage, label) for label in slices_of(evaluation)}
    return {**_measured(evaluation, stage, None), "slices": slices}


def compare(ours: Found, theirs: Found) -> dict[str, Any]:
    """Ours minus theirs on the same queries: for `all`, and for each slice."""

    def differences(label: str | None) -> dict[str, Any]:
        return plain(difference(_columns(*ours, label), _columns(*theirs, label)))

    return {"all": differences(None), **{label: differences(label) for label in slices_of(ours[0])}}


def recall_at_1(evaluation: Evaluation, stage: Stage) -> tuple[float, float]:
    """R@1, and mAP@10 to decide between equals, of all queries."""
    rows = metric_rows(evaluation, stage)
    return round(100 * mean(rows["R@1"]), 2), round(100 * mean(rows["mAP@10"]), 2)


def best_of(scores: Mapping[str, tuple[float, float]]) -> str:
    """The name of the highest scores; of equals the first."""
    return max(scores, key=lambda name: scores[name])


def best_of_each_family(scores: Mapping[str, tuple[float, float]]) -> list[str]:
    """Of names such as `slerp-0.50` and `slerp-0.70`, which are a family, the best of each family."""
    families: dict[str, dict[str, tuple[float, float]]] = {}
    for name, score in scores.items():
        families.setdefault(name.rpartition("-")[0], {})[name] = score
    return [best_of(family) for family in families.values()]


def slices_of(evaluation: Evaluation) -> list[str]:
    """Same-scene queries and the styles, of those that there are."""
    return [label for label in labels(evaluation) if label == SAME_SCENE or label.startswith("style:")]


def _measured(evaluation: Evaluation, stage: Stage, label: str | None) -> dict[str, Any]:
    rows = _columns(evaluation, stage, label)
    return {"queries": sum(map(len, rows["R@1"])), "metrics": plain(summary(rows))}


def _columns(evaluation: Evaluation, stage: Stage, label: str | None) -> Rows:
    rows = metric_rows(evaluation, stage, label=label)
    return {name: rows[name] for name in (COLUMNS if label is None else SLICE_COLUMNS)}
