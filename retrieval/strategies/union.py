"""Single modalities and the union baselines: everything that reference and text say is added up."""

import numpy as np

from core.models import Vector
from core.ports import Composition, CompositionInput
from retrieval.strategies.linear import search_for, unit

TEXT_SHARE = 0.5
"""a of norm((1 - a) v + a t)."""


def text(query: CompositionInput) -> Composition:
    """Cosine with the text."""
    return search_for(_present(query.text))


def image(query: CompositionInput) -> Composition:
    """Cosine with the reference picture."""
    return search_for(_present(query.reference))


def weighted_sum(query: CompositionInput) -> Composition:
    """Cosine with norm((1 - a) v + a t), the simplest union of both."""
    mixed = (1.0 - TEXT_SHARE) * _present(query.reference) + TEXT_SHARE * _present(query.text)
    return search_for(unit(mixed))


def _present(vector: Vector | None) -> Vector:
    if vector is None:
        raise ValueError("compose() calls a strategy only with the modalities that it needs")
    return np.asarray(vector, np.float32)
