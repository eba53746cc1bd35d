"""Single modalities and the union baselines: everything that reference and text say is added up."""

from collections.abc import Callable

import numpy as np

from core.models import Explanation, Vector, Vectors
from core.ports import Composition, CompositionInput
from retrieval.strategies.centring import Centre
from retrieval.strategies.linear import inner_product, search_for, unit

TEXT_SHARE = 0.5
"""a of norm((1 - a) v + a t)."""
SLERP_SHARE = 0.7
"""a of slerp, tuned on the dev split of SynthCIR: 0.5 would be the same direction as a sum of equal parts."""


def text(query: CompositionInput) -> Composition:
    """Cosine with the text."""
    return search_for(present(query.text))


def image(query: CompositionInput) -> Composition:
    """Cosine with the reference picture."""
    return search_for(present(query.reference))


def weighted_sum(query: CompositionInput) -> Composition:
    """Cosine with norm((1 - a) v + a t), the simplest union of both."""
    return sum_of(TEXT_SHARE)(query)


def slerp(query: CompositionInput) -> Composition:
    """Cosine with a point on the arc from reference to text; see `slerp_of`."""
    return slerp_of(SLERP_SHARE)(query)


def sum_of(text_share: float, *, centred: bool = False) -> Callable[[CompositionInput], Composition]:
    """The weighted sum (WeiMoCIR's query, arXiv 2409.04918) with `text_share` a in 0..1.

    `centred` sees pictures from the gallery's mean and texts from the concepts' mean, as `intersection` does.
    """

    def strategy(query: CompositionInput) -> Composition:
        reference, words = present(query.reference), present(query.text)
        if not centred:
            return search_for(unit((1.0 - text_share) * reference + text_share * words))
        centre = Centre.of(query)
        mixed = unit((1.0 - text_share) * unit(centre.picture(reference)) + text_share * centre.words(words))

        def score(vectors: Vectors) -> Vector:
            return inner_product(mixed)(centre.picture(vectors))

        return Composition(probes=mixed[None, :], score=score, explanation=Explanation())

    return strategy


def slerp_of(text_share: float) -> Callable[[CompositionInput], Composition]:
    """Spherical interpolation (Slerp+TAT, arXiv 2405.00571) with `text_share` a in 0..1.

    sin((1 - a) theta) / sin(theta) v + sin(a theta) / sin(theta) t with theta the angle between both; where the two
    (almost) coincide or oppose each other there is no one arc, and it is the weighted sum.
    """

    def strategy(query: CompositionInput) -> Composition:
        reference, words = present(query.reference), present(query.text)
        theta = float(np.arccos(np.clip(reference @ words, -1.0, 1.0)))
        if np.sin(theta) < _NO_ARC:
            return sum_of(text_share)(query)
        shares = np.sin([(1.0 - text_share) * theta, text_share * theta]) / np.sin(theta)
        return search_for(unit(shares[0] * reference + shares[1] * words))

    return strategy


_NO_ARC = 1e-4


def present(vector: Vector | None) -> Vector:
    """The vector of a modality that a strategy needs."""
    if vector is None:
        raise ValueError("compose() calls a strategy only with the modalities that it needs")
    return np.asarray(vector, np.float32)
