"""Other ways to build the intersection, and unions, at any share of the text: for evaluation only, not in the API.

Each intersection here is the text plus what it keeps of the reference; they differ in what they keep.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import numpy as np

from core.models import Explanation, Vector
from core.ports import Composition, CompositionInput
from retrieval.strategies.centring import Centre
from retrieval.strategies.linear import unit
from retrieval.strategies.product import fuse_directions, harris_of, weighted_product
from retrieval.strategies.sparse import (
    Halves,
    Parts,
    Vocabulary,
    halves_of,
    search_for_both,
    take_apart,
    weighted,
)
from retrieval.strategies.union import present, slerp_of, sum_of

Strategy = Callable[[CompositionInput], Composition]
Tunable = Callable[[float], Strategy]
"""Share of the text in (0, 1) -> the strategy that has it."""
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


def keeping(keep: Keep) -> Tunable:
    """The text plus what `keep` keeps of the reference; without concepts the whole reference, as in `sparse`."""

    def halves(query: CompositionInput) -> Halves:
        centre = Centre.of(query)
        text, kept = centre.words(present(query.text)), unit(centre.picture(present(query.reference)))
        if query.concepts is not None and query.concepts.terms:
            kept = unit(keep(kept, text, Vocabulary.of(query.concepts, centre, query.attributes)))
        return Halves(centre, text, kept, Explanation())

    return summing(halves)


def summing(halves: Callable[[CompositionInput], Halves]) -> Tunable:
    """The text plus the kept reference, each with its share."""

    def of(text_share: float) -> Strategy:
        kept_weight = (1.0 - text_share) / text_share
        return lambda query: search_for_both(halves(query), kept_weight)

    return of


def intersection_as_and(text_share: float) -> Strategy:
    """`sparse_intersection`'s text and kept reference, their similarities multiplied instead of added."""

    def strategy(query: CompositionInput) -> Composition:
        found = halves_of(query)
        fused = fuse_directions(found.centre, found.text, found.kept, weighted_product(text_share))
        return replace(fused, explanation=found.explanation)

    return strategy


def union_grid(step: float = 0.02) -> dict[str, Strategy]:
    """Unions at every share of the text in (0, 1): `sum-0.50`, `centred-sum-0.50`, `slerp-0.50` and so on."""
    return _grid({"sum": sum_of, "centred-sum": partial(sum_of, centred=True), "slerp": slerp_of}, step)


def ablation_grid(step: float = 0.02) -> dict[str, Strategy]:
    """The ablations at every share of the text in (0, 1): `intersection-span-0.50` and so on."""
    return _grid(TUNABLE, step)


def _grid(families: Mapping[str, Tunable], step: float) -> dict[str, Strategy]:
    shares = [round(float(share), 4) for share in np.arange(step, 1.0 - step / 2, step)]
    return {f"{name}-{share:.2f}": of(share) for share in shares for name, of in families.items()}


TUNABLE: Mapping[str, Tunable] = MappingProxyType(
    {
        "product-harris": harris_of,
        "intersection-sparse": summing(halves_of),
        "intersection-literal": keeping(literal),
        "intersection-words": keeping(words),
        "intersection-relevant": keeping(relevant),
        "intersection-span": keeping(span),
        "intersection-contrast": keeping(contrast),
        "intersection-and": intersection_as_and,
    }
)
"""The ablations, by name."""
ABLATIONS: Mapping[str, Strategy] = MappingProxyType({name: of(0.5) for name, of in TUNABLE.items()})
"""With equal shares; an evaluator gives them to `StrategyComposer` beside `COMPOSED`."""
