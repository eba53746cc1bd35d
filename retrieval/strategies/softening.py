"""Any composition, re-weighted by what a result must have and must avoid (SoFT, arXiv 2512.20781)."""

from dataclasses import replace

import numpy as np

from core.models import Vector, Vectors
from core.ports import Composition
from retrieval.strategies.centring import Centre
from retrieval.strategies.linear import unit


def soften(
    composition: Composition, centre: Centre, *, have: Vector | None = None, avoid: Vector | None = None
) -> Composition:
    """Score S(x) -> S(x) * w(x) with w = (r + 1 - p) / 2; with nothing to have, w = 1 - p; with neither, S as it is.

    r and p are a picture's similarities to the text vectors [d] `have` and `avoid`; p = 0 with nothing to avoid. SoFT
    takes plain cosines of a large encoder; ours are centred and cut at 0, so that an unrelated picture has 0. A
    negative score is moved by the same factor downwards: S * (2 - w).
    Pools are found by the composition's own probes: what is to be avoided is near what is sought.
    """
    if have is None and avoid is None:
        return composition

    def score(vectors: Vectors) -> Vector:
        pictures = unit(centre.picture(vectors))
        weights = 1.0 - _similarity(pictures, avoid, centre)
        if have is not None:
            weights = (_similarity(pictures, have, centre) + weights) / 2.0
        scores = composition.score(vectors)
        return np.where(scores > 0, scores * weights, scores * (2.0 - weights)).astype(np.float32)

    return replace(composition, score=score)


def _similarity(pictures: Vectors, text: Vector | None, centre: Centre) -> Vector:
    if text is None:
        return np.zeros(len(pictures), np.float32)
    similarity: Vector = np.maximum(pictures @ centre.words(text), np.float32(0))
    return similarity
