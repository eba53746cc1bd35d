"""Sparse non-negative decomposition of a vector over concept vectors: which concepts it is made of, and how much."""

import numpy as np
from numpy.typing import NDArray

from core.models import Vector, Vectors

_Exact = NDArray[np.float64]

_SETTLED = 1e-5
_RIDGE = 1e-6
"""Keeps concepts with the same vector from making the equations singular."""
_SHORTLIST = 64
"""Concepts that can get weight: those most similar to the target. Bounds the time for vocabularies of thousands."""


def decompose(target: Vector, concepts: Vectors, *, sparsity: float) -> Vector:
    """Weights w >= 0, float32 [m], that minimise |target - w @ concepts|^2 / 2 + sparsity * sum(w).

    `concepts` are [m, d] unit (or zero) rows. The non-negative lasso of SpLiCE (arXiv 2402.10376), by the active-set
    method of Lawson and Hanson (1974), in which the penalty only shifts the right-hand side; larger `sparsity` leaves
    fewer concepts.
    """
    weights = np.zeros(len(concepts), np.float32)
    similarities = concepts @ target
    near = np.argsort(-similarities, kind="stable")[:_SHORTLIST]
    if len(near):
        rows = concepts[near].astype(np.float64)
        gram = rows @ rows.T + _RIDGE * np.eye(len(near))
        weights[near] = _solve(gram, similarities[near].astype(np.float64) - sparsity)
    return weights


def _solve(gram: _Exact, pull: _Exact) -> _Exact:
    """Non-negative weights [s] that minimise w @ gram @ w / 2 - pull @ w."""
    weights: _Exact = np.zeros(len(pull))
    active = np.zeros(len(pull), np.bool_)
    for _ in range(2 * len(pull)):
        slope = np.where(active, -np.inf, pull - gram @ weights)
        if slope.max() <= _SETTLED:
            break
        active[slope.argmax()] = True
        weights = _settle(gram, pull, weights, active)
        active = weights > 0
    return weights


def _settle(gram: _Exact, pull: _Exact, weights: _Exact, active: NDArray[np.bool_]) -> _Exact:
    """The best weights of the active concepts; those that would turn negative on the way become inactive."""
    while True:
        solution: _Exact = np.zeros(len(pull))
        solution[active] = np.linalg.solve(gram[np.ix_(active, active)], pull[active])
        falling = active & (solution <= 0)
        if not falling.any():
            return solution
        share = np.min(weights[falling] / (weights[falling] - solution[falling]))
        weights = weights + share * (solution - weights)
        active = active & (weights > _SETTLED)
