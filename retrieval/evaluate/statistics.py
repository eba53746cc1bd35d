"""Means over queries with bootstrap intervals."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
"""One value for each query, in 0..1 (differences: -1..1)."""

RESAMPLES = 2_000
LEVEL = 0.95
_CHUNK = 100


def mean(parts: Sequence[Values]) -> float:
    """Unweighted mean of the parts' means. ValueError when there is none, or one is empty."""
    if not parts or not all(len(part) for part in parts):
        raise ValueError("the mean over no queries is undefined: give at least one query for each part")
    return float(np.mean([part.mean() for part in parts]))


def bootstrap_interval(parts: Sequence[Values], *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Percentile interval of `mean` at LEVEL: queries are drawn again with replacement, in each part by itself."""
    mean(parts)
    rng = np.random.default_rng(seed)
    means = np.mean([_resampled(part, resamples, rng) for part in parts], axis=0)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def paired_interval(
    ours: Sequence[Values], theirs: Sequence[Values], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Interval of mean(ours) - mean(theirs), query by query: both sides must have the same queries in the same order.

    Much narrower than the difference of two intervals, as both sides find the same queries hard. ValueError when the
    numbers of queries differ.
    """
    if [len(part) for part in ours] != [len(part) for part in theirs]:
        raise ValueError("a paired interval needs the same queries on both sides")
    differences = [mine - other for mine, other in zip(ours, theirs, strict=True)]
    return bootstrap_interval(differences, resamples=resamples, seed=seed)


def ratio_interval(
    above: Sequence[Values], below: Sequence[Values], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Interval of mean(above) / mean(below), both over the same queries of a draw; draws with none below are left out.

    ValueError when the numbers of queries differ, or when no draw has anything below.
    """
    if [len(part) for part in above] != [len(part) for part in below]:
        raise ValueError("the interval of a ratio needs the same queries above and below")
    drawn = []
    for values in (above, below):
        rng = np.random.default_rng(seed)  # the same for both, so that they draw the same queries
        drawn.append(np.mean([_resampled(part, resamples, rng) for part in values], axis=0))
    usable = drawn[1] > 0
    if not usable.any():
        raise ValueError("the ratio to nothing is undefined")
    low, high = np.quantile(drawn[0][usable] / drawn[1][usable], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _resampled(values: Values, resamples: int, rng: np.random.Generator) -> Values:
    """Means of `resamples` draws, in chunks, so that large splits do not need gigabytes of indices."""
    sizes = [min(_CHUNK, resamples - start) for start in range(0, resamples, _CHUNK)]
    chunks = [values[rng.integers(len(values), size=(size, len(values)))].mean(axis=1) for size in sizes]
    return np.concatenate(chunks)
