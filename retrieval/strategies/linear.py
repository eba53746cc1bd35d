"""Compositions whose score is one inner product, and the arithmetic of unit vectors."""

from collections.abc import Callable

import numpy as np

from core.models import Explanation, Vector, Vectors
from core.ports import Composition

_TINY = 1e-9


def unit(vectors: Vectors) -> Vectors:
    """Rows (or one vector) scaled to length 1, float32; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Vectors = (vectors / np.maximum(lengths, _TINY)).astype(np.float32)
    return scaled


def inner_product(query: Vector) -> Callable[[Vectors], Vector]:
    """The score x -> query . x for rows x [n, d], float32 [n]."""

    def score(vectors: Vectors) -> Vector:
        return (vectors @ query).astype(np.float32)

    return score


def search_for(query: Vector) -> Composition:
    """Plain cosine search for one unit vector: it is its own probe, and nothing is kept or dropped."""
    return Composition(probes=query[None, :], score=inner_product(query), explanation=Explanation())
