"""Facets: groups of concepts of which a thing shows one, such as its colour, its pattern, or the scene behind it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.models import ConceptKind, Concepts, Vector, Vectors
from retrieval.strategies.centring import Centre
from retrieval.strategies.reading import SCENE_NOUNS
from retrieval.vocabulary import ASPECT_OF, KIND

SHARPNESS = 3.0
"""A concept that is one standard deviation more similar than another of its facet is e^3 times as likely.

Relative to the deviation of a vector's own similarities, so that it fits encoders with a wide spread (small ones) and
with a narrow one (large CLIPs, whose own temperature says about the same).
"""

EXPLAINED_FROM = 0.7
"""Concepts that explain this much of a phrase, of its squared length seen from the texts' centre, say what it says."""
OUTSTANDING_FROM = 4.0
"""So do those of which the most similar is this many standard deviations above the mean of all concepts.

Encoders whose texts all look alike hardly explain so much; in vocabularies of a dozen words nothing stands out so far.
"""

Places = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Facets:
    """k facets of m concepts in all. Concepts of one facet are neighbours, the first of each at `starts` [k].

    `directions` are the concepts' unit vectors float32 [m, d], seen from the texts' centre; `facet_of` [m] tells each
    one's facet. `names` [k] are attributes of the catalog or aspects of the general vocabulary; `scenes`
    [k] tells the facet of scenes, `subjects` [k] that of kinds of product.
    """

    terms: tuple[str, ...]
    directions: Vectors
    starts: Places
    facet_of: Places
    names: tuple[str, ...]
    scenes: Mask
    subjects: Mask

    @staticmethod
    def of(concepts: Concepts, centre: Centre, attributes: Mapping[str, str]) -> "Facets":
        """Group concepts by the catalog's attributes, and what the catalog does not name by the general aspects."""
        members: dict[tuple[ConceptKind, str], list[int]] = {}
        called = _aspects_in(concepts, attributes)
        for place, key in enumerate(_facet_of_each(concepts, attributes, called)):
            members.setdefault(key, []).append(place)
        order = [place for places in members.values() for place in places]
        sizes = [len(places) for places in members.values()]
        return Facets(
            terms=tuple(concepts.terms[place] for place in order),
            directions=centre.words(concepts.vectors[order]),
            starts=_starts(sizes),
            facet_of=np.repeat(np.arange(len(sizes)), sizes),
            names=tuple(name for _, name in members),
            scenes=np.array([kind is ConceptKind.SCENE for kind, _ in members]),
            subjects=np.array([name == called.get(KIND) for _, name in members]),
        )

    def only(self, chosen: Mask) -> "Facets":
        """Some of the facets, by a mask [k]."""
        concepts = np.flatnonzero(self.spread_over(chosen))
        sizes = np.bincount(self.facet_of, minlength=len(chosen))[chosen]
        return Facets(
            terms=tuple(self.terms[place] for place in concepts),
            directions=self.directions[concepts],
            starts=_starts(sizes),
            facet_of=np.repeat(np.arange(len(sizes)), sizes),
            names=tuple(name for name, kept in zip(self.names, chosen, strict=True) if kept),
            scenes=self.scenes[chosen],
            subjects=self.subjects[chosen],
        )

    def words(self) -> Iterator[tuple[str, ...]]:
        """What people call each facet: its name, its concepts, and for scenes the nouns for a scene."""
        ends = [*self.starts[1:], len(self.terms)]
        for name, scene, start, end in zip(self.names, self.scenes, self.starts, ends, strict=True):
            yield (*SCENE_NOUNS, name) if scene else (name, *self.terms[start:end])

    def spread(self, similarities: Vectors) -> Vectors:
        """Standard deviation [..., 1] of similarities [..., m] over the product concepts, if there are any."""
        products = self.spread_over(~self.scenes | self.scenes.all())
        deviation: Vectors = similarities[..., products].std(axis=-1, keepdims=True)
        floored: Vectors = np.maximum(deviation, np.float32(1e-6))
        return floored

    def shares(self, similarities: Vectors, spread: Vectors) -> Vectors:
        """How likely each concept is among those of its facet [..., m]: a softmax for each facet."""
        scaled = similarities * (np.float32(SHARPNESS) / spread)
        odds = np.exp(scaled - self.spread_over(self.best(scaled)))
        shares: Vectors = odds / self.spread_over(self.total(odds))
        return shares

    def named(self, phrase: Vector, *, most: int, least: float) -> list[int]:
        """Facets of the concepts that explain a phrase [d], one after the other (matching pursuit), at most `most`.

        Each explains at least `least` of what the first one does. None where no concept says what the phrase says: the
        nearest one would be wrong.
        """
        left, named, found = phrase, list[int](), self.directions @ phrase
        first, outstanding = float(found.max()), found.max() - found.mean() > OUTSTANDING_FROM * found.std()
        for _ in range(most):
            similarities = self.directions @ left
            best = int(similarities.argmax())
            if similarities[best] <= 0 or similarities[best] < least * first:
                break
            named.append(int(self.facet_of[best]))
            left = left - similarities[best] * self.directions[best]
        explained = 1.0 - (left @ left) / max(float(phrase @ phrase), 1e-9)
        return named if outstanding or explained >= EXPLAINED_FROM else []

    def best(self, values: Vectors) -> Vectors:
        """Maxima [..., k] over the concepts of each facet of values [..., m]."""
        maxima: Vectors = np.maximum.reduceat(values, self.starts, axis=-1)
        return maxima

    def total(self, values: Vectors) -> Vectors:
        """Sums [..., k] over the concepts of each facet of values [..., m]."""
        sums: Vectors = np.add.reduceat(values, self.starts, axis=-1)
        return sums

    def spread_over(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values [..., k] of facets, at each of their concepts [..., m]."""
        return values[..., self.facet_of]


def _starts(sizes: Sequence[int] | Places) -> Places:
    return np.cumsum([0, *sizes], dtype=np.intp)[:-1]


def _facet_of_each(
    concepts: Concepts, attributes: Mapping[str, str], called: Mapping[str, str]
) -> Iterator[tuple[ConceptKind, str]]:
    """Kind and name of each concept's facet. A product word that belongs to none is one of its own."""
    for term, kind in zip(concepts.terms, concepts.kinds, strict=True):
        if kind is ConceptKind.SCENE:
            yield kind, ""
        else:
            yield kind, attributes.get(term) or called.get(ASPECT_OF.get(term, ""), term)


def _aspects_in(concepts: Concepts, attributes: Mapping[str, str]) -> dict[str, str]:
    """General aspect -> the catalog's attribute that has most of the same words; its own name where none has any."""
    shared: dict[str, Counter[str]] = {}
    for term in concepts.terms:
        if term in ASPECT_OF:
            shared.setdefault(ASPECT_OF[term], Counter()).update([attributes[term]] if term in attributes else [])
    return {aspect: counts.most_common(1)[0][0] if counts else aspect for aspect, counts in shared.items()}
