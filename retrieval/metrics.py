"""Retrieval metrics on ranked lists of ids; pure."""

from collections.abc import Sequence


def rank_of(target: str, ranking: Sequence[str]) -> int | None:
    """The rank of `target`, from 1; None when it is not in the ranking."""
    return ranking.index(target) + 1 if target in ranking else None


def recall_at_k(rankings: Sequence[Sequence[str]], targets: Sequence[str], *, k: int) -> float:
    """Share of queries (0..1) whose single target is among the first `k` of its ranking.

    ValueError when there are no queries, when rankings and targets differ in number, or when k is below 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if not targets:
        raise ValueError("recall over no queries is undefined: give at least one ranking and target")
    hits = sum(target in ranking[:k] for ranking, target in zip(rankings, targets, strict=True))
    return hits / len(targets)


def mean_reciprocal_rank(rankings: Sequence[Sequence[str]], targets: Sequence[str]) -> float:
    """Mean of 1 / rank of the target, 0 where the ranking lacks it. ValueError as in `recall_at_k`."""
    if not targets:
        raise ValueError("the mean over no queries is undefined: give at least one ranking and target")
    ranks = [rank_of(target, ranking) for ranking, target in zip(rankings, targets, strict=True)]
    return sum(1.0 / rank for rank in ranks if rank is not None) / len(targets)
