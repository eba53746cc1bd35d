"""The intersection as a sum of sparse parts, the default before facets: an ablation now, and the base of others.

The reference is taken apart into the catalog's own words and scenery (non-negative and sparse, as in SpLiCE, arXiv
2402.10376). Scenery and words that the text replaces are dropped; the words that stay are added to the text, and, with
less weight, what no word names.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.models import ConceptKind, Concepts, Explanation, Vector, Vectors
from core.ports import Composition, CompositionInput
from retrieval.decomposition import decompose
from retrieval.strategies.centring import Centre
from retrieval.strategies.linear import inner_product, unit
from retrieval.vocabulary import ASPECT_OF

KEPT_WEIGHT = 1.0
"""gamma of text + gamma * kept, both unit vectors."""
REMAINDER_WEIGHT = 0.5
"""Weight of what no word names (shape, style) beside the words that stay, both unit vectors."""
REFERENCE_SPARSITY = 0.06
TEXT_SPARSITY = 0.1
NAMED_FROM = 0.5
"""A text names the concepts that weigh at least this much of its heaviest one."""
KNOWN_FROM = 0.5
"""Scenes nearer to the mean scene than this much of the farthest one are words that the encoder cannot tell apart."""
MAX_TERMS = 8
"""Terms that an explanation lists at most, kept and dropped each."""
LISTED_FROM = 0.15
"""Terms that weigh less than this much of the heaviest one are noise, and not listed."""

Mask = NDArray[np.bool_]
"""One truth value for each concept [m]."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The concepts seen from the texts' centre: unit `directions` [m, d], which are products, and their attributes."""

    terms: tuple[str, ...]
    directions: Vectors
    product: Mask
    attributes: tuple[str | None, ...]

    @staticmethod
    def of(concepts: Concepts, centre: Centre, attributes: Mapping[str, str]) -> "Vocabulary":
        """The catalog's own words are the products, or where it has none the general vocabulary's."""
        scene = np.array([kind is ConceptKind.SCENE for kind in concepts.kinds])
        product = ~scene & np.array([not attributes or term in attributes for term in concepts.terms])
        known = product | _told_apart(concepts.vectors, scene)
        return Vocabulary(
            terms=concepts.terms,
            directions=np.where(known[:, None], centre.words(concepts.vectors), np.float32(0)),
            product=product,
            attributes=tuple(attributes.get(term) or ASPECT_OF.get(term) for term in concepts.terms),
        )

    def rivals(self, concept: int) -> Mask:
        """Products that exclude this one: the other values of its attribute."""
        attribute = self.attributes[concept]
        same = np.array([attribute is not None and other == attribute for other in self.attributes])
        same[concept] = False
        return same & self.product


@dataclass(frozen=True, slots=True)
class Parts:
    """Concepts of reference and text, float32 [m] weights >= 0, and what the text does to those of the reference."""

    reference: Vector
    text: Vector
    replaced: Mask


def sparse_intersection(query: CompositionInput) -> Composition:
    """Score x -> (text + gamma * kept) . x on pictures x centred with the gallery's mean; needs both modalities.

    Both similarities are ANN probes of their own besides their sum, so that the pool holds what is good at either.
    Without concepts nothing can be told apart: the whole centred reference is kept, and the explanation is empty.
    An empty gallery (no mean) centres with zero.
    """
    return search_for_both(halves_of(query))


@dataclass(frozen=True, slots=True)
class Halves:
    """What a query asks for, as unit vectors [d] seen from their centres: by its `text`, and by what it `kept`."""

    centre: Centre
    text: Vector
    kept: Vector
    explanation: Explanation


def halves_of(query: CompositionInput) -> Halves:
    """Take reference and text apart; without concepts the whole reference is kept."""
    if query.reference is None or query.text is None:
        raise ValueError("compose() calls a strategy only with the modalities that it needs")
    centre = Centre.of(query)
    text, kept = centre.words(query.text), unit(centre.picture(query.reference))
    if query.concepts is None or not query.concepts.terms:
        return Halves(centre, text, kept, Explanation())
    vocabulary = Vocabulary.of(query.concepts, centre, query.attributes)
    parts = take_apart(kept, text, vocabulary)
    return Halves(centre, _wanted(text, parts, vocabulary), _kept(kept, parts, vocabulary), _explain(parts, vocabulary))


def search_for_both(found: Halves, kept_weight: float = KEPT_WEIGHT) -> Composition:
    """Search for text + gamma * kept with `kept_weight` gamma > 0, scored on centred pictures."""
    composed = found.text + np.float32(kept_weight) * found.kept

    def score(vectors: Vectors) -> Vector:
        return inner_product(composed)(found.centre.picture(vectors))

    probes = unit(np.stack([composed, found.text, found.kept]))
    return Composition(probes=probes, score=score, explanation=found.explanation)


def _told_apart(vectors: Vectors, scenes: Mask) -> Mask:
    """Which scenes stand out from the mean scene: to a small encoder, all words that it never met are one."""
    distances = np.zeros(len(vectors), np.float32)
    if scenes.any():
        distances[scenes] = np.linalg.norm(vectors[scenes] - vectors[scenes].mean(axis=0), axis=1)
    told_apart: Mask = scenes & (distances >= KNOWN_FROM * distances.max(initial=0.0))
    return told_apart


def take_apart(reference: Vector, text: Vector, vocabulary: Vocabulary) -> Parts:
    """Weights of the concepts in centred unit vectors of a reference and a text, and which the text replaces."""
    # Scenes take part, so that what they explain is not put down to some product word instead.
    seen = decompose(reference, vocabulary.directions, sparsity=REFERENCE_SPARSITY)
    products = np.where(vocabulary.product[:, None], vocabulary.directions, np.float32(0))
    said = decompose(text, products, sparsity=TEXT_SPARSITY)
    asked = np.zeros(len(seen), np.bool_)
    replaced = np.zeros(len(seen), np.bool_)
    for concept in np.flatnonzero((said > 0) & (said >= NAMED_FROM * said.max(initial=0.0))):
        rivals = vocabulary.rivals(int(concept))
        # What the reference shows more of than of any rival is no news: the text names it to keep it, or to lose it.
        if seen[concept] <= np.max(seen, where=rivals, initial=0.0):
            asked[concept] = True
            replaced |= rivals
    return Parts(reference=seen, text=said, replaced=replaced & ~asked)


def _wanted(text: Vector, parts: Parts, vocabulary: Vocabulary) -> Vector:
    """The text without what it names only to replace it, as in "blue rather than red"."""
    return unit(text - weighted(parts.text, parts.replaced, vocabulary))


def _kept(reference: Vector, parts: Parts, vocabulary: Vocabulary) -> Vector:
    """Direction of the product words that stay, and of what is left when all that goes is taken away."""
    stays = vocabulary.product & ~parts.replaced
    words = unit(weighted(parts.reference, stays, vocabulary))
    remainder = unit(reference - weighted(parts.reference, ~stays, vocabulary))
    return unit(words + REMAINDER_WEIGHT * remainder)


def weighted(weights: Vector, chosen: Mask, vocabulary: Vocabulary) -> Vector:
    """Sum [d] of the chosen concepts' directions, each times its weight."""
    summed: Vector = np.where(chosen, weights, np.float32(0)) @ vocabulary.directions
    return summed


def _explain(parts: Parts, vocabulary: Vocabulary) -> Explanation:
    """Shares of the whole reference, so that kept and dropped weights compare; heaviest first."""
    shares = parts.reference / max(float(parts.reference.sum()), 1e-9)
    stays = vocabulary.product & ~parts.replaced
    least = max(LISTED_FROM * float(shares.max()), 1e-9)
    seen = [int(i) for i in np.argsort(-shares, kind="stable") if shares[i] >= least]
    kept = tuple((vocabulary.terms[i], float(shares[i])) for i in seen if stays[i])
    dropped = tuple((vocabulary.terms[i], float(shares[i])) for i in seen if not stays[i])
    return Explanation(kept=kept[:MAX_TERMS], dropped=dropped[:MAX_TERMS])
