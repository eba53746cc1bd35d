"""AND-fusion: a picture has to resemble the reference and fit the text, and excess in one does not make up for both."""

from collections.abc import Callable

import numpy as np

from core.models import Explanation, Vector, Vectors
from core.ports import Composition, CompositionInput
from retrieval.strategies.centring import Centre
from retrieval.strategies.linear import unit
from retrieval.strategies.union import present

TEXT_SHARE = 0.6
"""a of s_t^a * s_v^(1 - a), tuned on the dev split of SynthCIR."""
LEAST = -0.5
"""The centred cosine that counts as no similarity at all; one minimum for all queries, so that scores compare."""
HARRIS_PENALTY = 0.1
"""lambda of the Harris form, as in BASIC."""

Fuse = Callable[[Vector, Vector], Vector]
"""Similarities to the text and to the reference, >= 0, [n] each -> scores [n]."""


def product(query: CompositionInput) -> Composition:
    """Score x -> s_t^a * s_v^(1 - a) on centred cosines, min-normalised to s >= 0 (BASIC, arXiv 2510.25387).

    A weighted product, because the reference says less about the target than the text does.
    """
    return _of_both(query, weighted_product(TEXT_SHARE))


def weighted_product(text_share: float) -> Fuse:
    """s_t^a * s_v^(1 - a) with `text_share` a in 0..1."""

    def fuse(to_text: Vector, to_reference: Vector) -> Vector:
        scores: Vector = to_text**text_share * to_reference ** (1.0 - text_share)
        return scores

    return fuse


def harris_of(text_share: float) -> Callable[[CompositionInput], Composition]:
    """Score x -> s_t s_v - lambda (s_t + s_v)^2, the form of a corner detector: one-sided matches lose (BASIC).

    With `text_share` a in 0..1 the similarities count 2a and 2(1 - a) times; BASIC has them equal, a = 0.5.
    """

    def fuse(to_text: Vector, to_reference: Vector) -> Vector:
        said: Vector = to_text * (2 * text_share)
        seen: Vector = to_reference * (2 - 2 * text_share)
        return said * seen - HARRIS_PENALTY * (said + seen) ** 2

    return lambda query: _of_both(query, fuse)


def fuse_directions(centre: Centre, text: Vector, reference: Vector, fuse: Fuse) -> Composition:
    """An AND of two unit vectors [d] seen from their centres; each, and their sum, is an ANN probe."""

    def score(vectors: Vectors) -> Vector:
        pictures = unit(centre.picture(vectors))
        return fuse(_normalised(pictures @ text), _normalised(pictures @ reference)).astype(np.float32)

    probes = unit(np.stack([text + reference, text, reference]))
    return Composition(probes=probes, score=score, explanation=Explanation())


def _of_both(query: CompositionInput, fuse: Fuse) -> Composition:
    centre = Centre.of(query)
    reference = unit(centre.picture(present(query.reference)))
    return fuse_directions(centre, centre.words(present(query.text)), reference, fuse)


def _normalised(cosines: Vector) -> Vector:
    """(s - m) / |m| from m = `LEAST`, cut at 0."""
    scaled: Vector = np.maximum((cosines - LEAST) / abs(LEAST), 0.0)
    return scaled
