"""Sparse non-negative decomposition of a vector over concept vectors: which concepts it is made of, and how much."""

import numpy as np

from core.models import Vector, Vectors

_STEPS = 300
_SETTLED = 1e-4
_SHORTLIST = 256
"""Concepts that can get weight: those most similar to the target. Bounds the time for vocabularies of thousands."""


def decompose(target: Vector, concepts: Vectors, *, sparsity: float) -> Vector:
    """Weights w >= 0, float32 [m], that minimise |target - w @ concepts|^2 / 2 + sparsity * sum(w).

    `concepts` are [m, d] unit (or zero) rows. The non-negative lasso of SpLiCE (arXiv 2402.10376), by accelerated
    proximal gradient steps (FISTA, Beck and Teboulle 2009); larger `sparsity` leaves fewer concepts.
    """
    weights = np.zeros(len(concepts), np.float32)
    similar = np.argsort(-(concepts @ target), kind="stable")[:_SHORTLIST]
    if len(similar):
        weights[similar] = _solve(concepts[similar] @ concepts[similar].T, concepts[similar] @ target, sparsity)
    return weights


def _solve(gram: Vectors, correlation: Vector, sparsity: float) -> Vector:
    step = np.float32(1.0 / max(float(np.linalg.eigvalsh(gram)[-1]), 1e-6))
    weights = ahead = np.zeros(len(correlation), np.float32)
    momentum = 1.0
    for _ in range(_STEPS):
        updated = np.maximum(ahead - step * (gram @ ahead - correlation + np.float32(sparsity)), np.float32(0))
        following = (1.0 + (1.0 + 4.0 * momentum**2) ** 0.5) / 2.0
        ahead = updated + np.float32((momentum - 1.0) / following) * (updated - weights)
        change = float(np.abs(updated - weights).max())
        weights, momentum = updated, following
        if change < _SETTLED:
            break
    return weights
