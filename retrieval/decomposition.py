"""Sparse non-negative decomposition of a vector over concept vectors: which concepts it is made of, and how much."""

import numpy as np

from core.models import Vector, Vectors

_STEPS = 200


def decompose(target: Vector, concepts: Vectors, *, sparsity: float) -> Vector:
    """Weights w >= 0, float32 [m], that minimise |target - w @ concepts|^2 / 2 + sparsity * sum(w).

    `concepts` are [m, d] unit rows. The non-negative lasso of SpLiCE (arXiv 2402.10376), solved by accelerated proximal
    gradient steps (FISTA); larger `sparsity` leaves fewer concepts.
    """
    weights = np.zeros(len(concepts), np.float32)
    if not len(concepts):
        return weights
    gram, correlation = concepts @ concepts.T, concepts @ target
    step = 1.0 / max(float(np.linalg.eigvalsh(gram)[-1]), 1e-6)
    ahead, momentum = weights, 1.0
    for _ in range(_STEPS):
        updated = np.maximum(ahead - step * (gram @ ahead - correlation + sparsity), 0.0).astype(np.float32)
        following = (1.0 + (1.0 + 4.0 * momentum**2) ** 0.5) / 2.0
        ahead = updated + (momentum - 1.0) / following * (updated - weights)
        weights, momentum = updated, following
    return weights
