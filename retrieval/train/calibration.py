"""From a judge's margins to probabilities and to its share of the final order; pure functions on arrays."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from core.models import Vectors

_GRID = np.round(np.arange(0.0, 1.0001, 0.05), 2)
_MOST = 5.0
"""Largest |log| of a temperature: data that are told apart completely, or not at all, would make it 0 or infinite."""


@dataclass(frozen=True)
class Judged:
    """Shortlists of stage 1 with the judge's margins z_yes - z_no; all [queries, shortlist]."""

    coarse: Vectors
    margins: Vectors
    right: NDArray[np.bool_]


def fit_sigmoid(margins: Vectors, right: NDArray[np.bool_]) -> tuple[float, float]:
    """Temperature and bias for which sigma(margin / temperature + bias) is likeliest to be right.

    Platt scaling with the targets that Platt (1999) chose against overfitting: (n + 1) / (n + 2) for the n right ones,
    1 / (m + 2) for the m wrong ones.
    """
    x = torch.from_numpy(margins.ravel().astype(np.float64))
    count, total = int(right.sum()), right.size
    smooth = np.where(right.ravel(), (count + 1) / (count + 2), 1 / (total - count + 2))
    y = torch.from_numpy(smooth)
    logs = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logs], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        scale = logs[0].clamp(-_MOST, _MOST).exp()
        loss = functional.binary_cross_entropy_with_logits(x * scale + logs[1], y)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    scale, bias = logs.detach().tolist()
    return round(float(np.exp(-np.clip(scale, -_MOST, _MOST))), 4), round(bias, 4)


def fit_weight(judged: Judged, temperature: float, bias: float) -> float:
    """The judge's share of the final order: the middle of those that are as good as the best one.

    As good means a mean reciprocal rank within one standard error (of the difference) of the best share's. When that
    holds for no share at all, the judge may help by chance alone, and gets no say.
    """
    gains = [1.0 / (1.0 + _ranks(judged, temperature, bias, float(share))) for share in _GRID]
    best = max(gains, key=lambda gain: float(gain.mean()))
    lost = [best - gain for gain in gains]
    good = [share for share, loss in zip(_GRID, lost, strict=True) if loss.mean() <= loss.std() / len(loss) ** 0.5]
    return 0.0 if good[0] == 0.0 else float(good[len(good) // 2])


def recalls(judged: Judged, temperature: float, bias: float, weight: float) -> dict[str, float]:
    """R@1, R@5 and R@10 of the final order with that share of the judge, each in 0..1."""
    ranks = _ranks(judged, temperature, bias, weight)
    return {f"r@{k}": round(float((ranks < k).mean()), 4) for k in (1, 5, 10)}


def auc(margins: Vectors, right: NDArray[np.bool_]) -> float:
    """Probability that a query's right candidate has a larger margin than a wrong one; both [queries, candidates].

    The mean over the queries that have candidates of both kinds; NaN when none has.
    """
    wins = []
    for row, target in zip(margins, right, strict=True):
        above = row[target][:, None] - row[~target][None, :]
        if above.size:
            wins.append(float((above > 0).mean() + 0.5 * (above == 0).mean()))
    return round(float(np.mean(wins)), 4) if wins else float("nan")


def _fused(judged: Judged, temperature: float, bias: float, weight: float) -> Vectors:
    low, high = judged.coarse.min(axis=1, keepdims=True), judged.coarse.max(axis=1, keepdims=True)
    coarse = (judged.coarse - low) / np.maximum(high - low, 1e-9)
    p_yes = 0.5 + 0.5 * np.tanh(0.5 * (judged.margins / temperature + bias))  # the sigmoid, without its overflow
    return np.asarray(weight * p_yes + (1 - weight) * coarse, dtype=np.float32)


def _ranks(judged: Judged, temperature: float, bias: float, weight: float) -> Vectors:
    """Rank of the best right candidate in the fused shortlist from 0; infinite where stage 1 found none."""
    scores = _fused(judged, temperature, bias, weight)
    order = np.argsort(-scores, axis=1, kind="stable")
    sorted_right = np.take_along_axis(judged.right, order, axis=1)
    return np.where(sorted_right.any(axis=1), sorted_right.argmax(axis=1), np.inf).astype(np.float32)
