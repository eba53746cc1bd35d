"""Other ways to build the intersection, and tunable unions: for evaluation only, beside the strategies of the API.

Each intersection here is the text plus what it keeps of the reference; they differ in what they keep.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from core.models import Explanation, Vector
from core.ports import Composition, CompositionInput
from retrieval.strategies.centring import Centre
from retrieval.strategies.linear import unit
from retrieval.strategies.product import fuse_directions, harris
from retrieval.strategies.sparse import (
    Halves,
    Parts,
    Vocabulary,
    halves_of,
    search_for_both,
    sparse_intersection,
    take_apart,
    weighted,
)
from retrieval.strategies.union import present, slerp_of, sum_of

Strategy = Callable[[CompositionInput], Composition]
Keep = Callable[[Vector, Vector, Vocabulary], Vector]
"""Reference and text, centred unit vectors [d], and the concepts -> what is kept [d], of any length."""

RIDGE = 1e-2
"""Of the span's Gram matrix: words that nearly coincide must not cancel each other with huge weights."""
CONTRAST = 0.2
"""alpha of BASIC: how much the scenes' directions take from the products'."""
CONTRAST_DIRECTIONS = 250


def literal(reference: Vector, text: Vector, vocabulary: Vocabulary) -> Vector:
    """Only concepts that both have, by the smaller weight (SpLiCE, arXiv 2402.10376).

    Nearly empty in practice, because a text that changes something names what is *not* in the reference.
    """
    parts = take_apart(reference, text, vocabulary)
    return weighted(np.minimum(parts.reference, parts.text), vocabulary.product, vocabulary)


def words(reference: Vector, text: Vector, vocabulary: Vocabulary) -> Vector:
    """The reference rebuilt from its product words, those that the text replaces included (SpLiCE)."""
    parts: Parts = take_apart(reference, text, vocabulary)
    return weighted(parts.reference, vocabulary.product, vocabulary)


def relevant(reference: Vector, text: Vector, vocabulary: Vocabulary) -> Vector:
    """The reference's product words, each times its relevance (1 + cosine) / 2 to the text (SpLiCE, softly)."""
    parts = take_apart(reference, text, vocabulary)
    relevance: Vector = (1.0 + vocabulary.directions @ text) / 2.0
    return weighted(parts.reference * relevance, vocabulary.product, vocabulary)


def span(reference: Vector, text: Vector, vocabulary: Vocabulary) -> Vector:
    """The reference projected on the span of the product words (ridge regression): what words can express of it."""
    del text
    rows = vocabulary.directions[vocabulary.product]
    gram = rows @ rows.T + np.float32(RIDGE) * np.eye(len(rows), dtype=np.float32)
    kept: Vector = rows.T @ np.linalg.solve(gram, rows @ reference)
    return kept


def contrast(reference: Vector, text: Vector, vocabulary: Vocabulary) -> Vector:
    """The reference in the directions in which products vary more than scenes do (BASIC, arXiv 2510.25387).

    Leading eigenvectors of (1 - alpha) A'A / (n - 1) - alpha B'B / (m - 1), A product words and B scene words.
    """
    del text
    products, scenes = vocabulary.directions[vocabulary.product], vocabulary.directions[~vocabulary.product]
    spread = (1.0 - CONTRAST) * products.T @ products / max(len(products) - 1, 1)
    spread -= CONTRAST * scenes.T @ scenes / max(len(scenes) - 1, 1)
    values, vectors = np.linalg.eigh(spread)
    basis = vectors[:, values > 0][:, -min(CONTRAST_DIRECTIONS, len(products)) :]
    kept: Vector = basis @ (basis.T @ reference)
    return kept


def keeping(keep: Keep) -> Strategy:
    """The text plus what `keep` keeps of the reference; without concepts the whole reference, as in `sparse`."""

    def strategy(query: CompositionInput) -> Composition:
        centre = Centre.of(query)
        text, kept = centre.words(present(query.text)), unit(centre.picture(present(query.reference)))
        if query.concepts is not None and query.concepts.terms:
            kept = unit(keep(kept, text, Vocabulary.of(query.concepts, centre, query.attributes)))
        return search_for_both(Halves(centre, text, kept, Explanation()))

    return strategy


def intersection_as_and(query: CompositionInput) -> Composition:
    """`sparse_intersection`'s text and kept reference, their similarities multiplied instead of added."""
    found = halves_of(query)

    def fuse(to_text: Vector, to_kept: Vector) -> Vector:
        scores: Vector = np.sqrt(to_text * to_kept)
        return scores

    fused = fuse_directions(found.centre, found.text, found.kept, fuse)
    return replace(fused, explanation=found.explanation)


def union_grid(step: float = 0.02) -> dict[str, Strategy]:
    """Unions at every share of the text in (0, 1): `sum-0.50`, `centred-sum-0.50`, `slerp-0.50` and so on."""
    grid: dict[str, Strategy] = {}
    for share in np.arange(step, 1.0 - step / 2, step):
        a = round(float(share), 4)
        grid[f"sum-{a:.2f}"] = sum_of(a)
        grid[f"centred-sum-{a:.2f}"] = sum_of(a, centred=True)
        grid[f"slerp-{a:.2f}"] = slerp_of(a)
    return grid


ABLATIONS: Mapping[str, Strategy] = MappingProxyType(
    {
        "product-harris": harris,
        "intersection-sparse": sparse_intersection,
        "intersection-literal": keeping(literal),
        "intersection-words": keeping(words),
        "intersection-relevant": keeping(relevant),
        "intersection-span": keeping(span),
        "intersection-contrast": keeping(contrast),
        "intersection-and": intersection_as_and,
    }
)
"""By name; an evaluator gives them to `StrategyComposer` beside `COMPOSED`."""
