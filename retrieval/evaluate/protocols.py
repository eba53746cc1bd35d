"""The official protocols, as arithmetic on rankings. What each trap is about is told in docs/evaluation.md."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from core.models import Vector
from retrieval.datasets.composed import CirQuery

DEPTH = 50
"""Places of a ranking that any protocol or server looks at."""

CIRR_RANKS = (1, 5, 10, 50)
CIRR_SUBSET_RANKS = (1, 2, 3)
FASHIONIQ_RANKS = (10, 50)
CIRCO_RANKS = (5, 10, 25, 50)

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Ranked:
    """Answers to one query, best first: the first `DEPTH` of the gallery, and all members of its group."""

    ranking: tuple[str, ...]
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CirProtocol:
    """How a benchmark counts. `measure` gives a query's metrics in 0..1, `parts` of a split are averaged unweighted.

    `drops_reference` tells whether the reference leaves the ranking before anything is cut from it.
    """

    name: str
    drops_reference: bool
    measure: Callable[[CirQuery, Ranked], dict[str, float]]
    description: str


def best_first(scores: Vector, *, without: int | None = None) -> Places:
    """Places of a gallery in order of score, float32 [n] -> [n], or [n - 1] where one place is left out.

    Ties keep the gallery's order, which is that of its ids. ValueError for scores that are not finite.
    """
    if not np.isfinite(scores).all():
        raise ValueError("a score is not a finite number: look for a zero vector or an overflow in the encoder")
    order = np.argsort(-scores, kind="stable")
    return order if without is None else order[order != without]


def of_members(ranking: Sequence[str], members: Collection[str]) -> tuple[str, ...]:
    """The members of a group in the order of a ranking. ValueError when the ranking lacks one."""
    wanted = set(members)
    found = tuple(name for name in ranking if name in wanted)
    if len(found) != len(wanted):
        raise ValueError(f"the ranking lacks {sorted(wanted - set(found))} of its group: rank every member")
    return found


def hit(ranking: Sequence[str], target: str, k: int) -> float:
    """1 when the target is among the first k, else 0: the mean over queries is recall@k."""
    return float(target in ranking[:k])


def average_precision(ranking: Sequence[str], targets: Collection[str], k: int) -> float:
    """AP@k with CIRCO's denominator min(#targets, k): neither the hits that were found nor all targets."""
    wanted = set(targets)
    hits = np.array([name in wanted for name in ranking[:k]], np.float64)
    precision = np.cumsum(hits) * hits / np.arange(1, len(hits) + 1)
    return float(precision.sum() / min(len(wanted), k))


def _measure_cirr(query: CirQuery, ranked: Ranked) -> dict[str, float]:
    target = query.targets[0]
    metrics = {f"R@{k}": hit(ranked.ranking, target, k) for k in CIRR_RANKS}
    metrics |= {f"Rsubset@{k}": hit(ranked.members, target, k) for k in CIRR_SUBSET_RANKS}
    metrics["Avg"] = (metrics["R@5"] + metrics["Rsubset@1"]) / 2
    metrics["mAP@10"] = average_precision(ranked.ranking, [target], 10)
    return metrics


def _measure_fashioniq(query: CirQuery, ranked: Ranked) -> dict[str, float]:
    metrics = {f"R@{k}": hit(ranked.ranking, query.targets[0], k) for k in FASHIONIQ_RANKS}
    metrics["Avg"] = sum(metrics.values()) / len(metrics)
    return metrics


def _measure_circo(query: CirQuery, ranked: Ranked) -> dict[str, float]:
    metrics = {f"mAP@{k}": average_precision(ranked.ranking, query.targets, k) for k in CIRCO_RANKS}
    return metrics | {f"R@{k}": hit(ranked.ranking, query.targets[0], k) for k in CIRCO_RANKS}


_CIRR = CirProtocol(
    "cirr",
    drops_reference=True,
    measure=_measure_cirr,
    description="gallery: all images of the split; the reference leaves each ranking before it is cut; R@k on"
    " target_hard; Rsubset@k among the five others of the group; Avg = (R@5 + Rsubset@1) / 2",
)

PROTOCOLS: Mapping[str, CirProtocol] = MappingProxyType(
    {
        "cirr": _CIRR,
        "synthcir": _CIRR,
        "fashioniq": CirProtocol(
            "fashioniq",
            drops_reference=False,
            measure=_measure_fashioniq,
            description="gallery: all images of the category's split file (original split); the reference stays;"
            " unweighted mean of the three categories",
        ),
        "circo": CirProtocol(
            "circo",
            drops_reference=False,
            measure=_measure_circo,
            description="gallery: all of COCO 2017 unlabeled; the reference stays unless said otherwise;"
            " AP@k divides by min(#ground truths, k); R@k on target_img_id",
        ),
    }
)
"""By name of data set: SynthCIR is counted exactly as CIRR is."""
