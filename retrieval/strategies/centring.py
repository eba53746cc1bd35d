"""Centring: what all pictures, or all texts, have in common says nothing about one of them."""

from dataclasses import dataclass

import numpy as np

from core.models import ConceptKind, Concepts, Vector, Vectors
from core.ports import CompositionInput
from retrieval.strategies.linear import unit


@dataclass(frozen=True, slots=True)
class Centre:
    """The origin of each modality [d]: pictures and texts of one encoder live around different points (cir: BASIC).

    For pictures it is the gallery's mean; zero for an empty gallery. For texts it is the mean of the product concepts;
    zero without concepts.
    """

    image: Vector
    text: Vector

    @staticmethod
    def of(query: CompositionInput) -> "Centre":
        """The centre that a query's gallery and concepts define."""
        given = next(vector for vector in (query.reference, query.text, query.negative_text) if vector is not None)
        zero = np.zeros_like(given, dtype=np.float32)
        return Centre(image=zero if query.mean is None else query.mean, text=_concept_mean(query.concepts, zero))

    def picture(self, vectors: Vectors) -> Vectors:
        """Pictures' vectors seen from their centre, not rescaled."""
        return vectors - self.image

    def words(self, vectors: Vectors) -> Vectors:
        """Directions (unit vectors) of texts or concepts, seen from their centre."""
        return unit(vectors - self.text)


def _concept_mean(concepts: Concepts | None, default: Vector) -> Vector:
    if concepts is None:
        return default
    products = concepts.vectors[[kind is ConceptKind.PRODUCT for kind in concepts.kinds]]
    if not len(products):
        return default
    mean: Vector = products.mean(axis=0, dtype=np.float32)
    return mean
