"""What a query needs to know of a generation besides its vectors: their mean, and the concepts."""

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from core.context import Context
from core.models import ConceptKind, Concepts, Gallery, Index, Vector
from core.ports import Composer, Encoder, UnitOfWork
from core.recent import Recent

MEAN_SAMPLE = 10_000
CONCEPT_MAX_WORDS = 3
CONCEPTS_PER_ATTRIBUTE = 500
WORDS_OF_IMAGES = 200_000
"""Whose attributes are read for the catalog's words: the newest so many, which takes six seconds of a slow core
where each has seven attributes."""
SAME_FROM = 1.0 - 1e-4
"""Cosine from which on two concepts are one to the encoder; different words that it knows are further apart."""
REFRESH_AFTER_S = 60.0
REMEMBERED = 32
"""Generations, those queried last: a space with thousands of concepts takes some 10 MB."""
READ_SHARE = 0.02
"""Reading a large gallery's words takes long, so it is done less often: at most this share of the time."""


@dataclass(frozen=True, slots=True)
class Space:
    """Facts of one generation. `mean` [d] is None for an empty one; `attributes` says whose value a term is."""

    mean: Vector | None
    concepts: Concepts
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Known:
    space: Space
    good_until_s: float


class Spaces:
    """Spaces of recently queried generations, reread about once a minute."""

    def __init__(self, ctx: Context, composer: Composer) -> None:
        self._ctx = ctx
        self._composer = composer
        self._lock = threading.Lock()
        self._known: Recent[UUID, _Known] = Recent(REMEMBERED, lambda _: 1)

    def get(self, gallery: Gallery, index: Index, encoder: Encoder) -> Space:
        """The generation's space; that of an empty gallery is never remembered."""
        with self._lock:
            known = self._known.get(index.id)
            if known is not None and time.monotonic() < known.good_until_s:
                return known.space
            began_s = time.monotonic()
            space = prepare(self._ctx, self._composer, gallery, index, encoder)
            ended_s = time.monotonic()
            if space.mean is not None:
                good_for_s = max(REFRESH_AFTER_S, (ended_s - began_s) / READ_SHARE)
                self._known.put(index.id, _Known(space, ended_s + good_for_s))
            return space


def prepare(ctx: Context, composer: Composer, gallery: Gallery, index: Index, encoder: Encoder) -> Space:
    """The generation's space as it is stored, brought up to date first."""
    with ctx.uow() as uow:
        mean = _mean(uow, index, gallery.image_count)
        by_attribute = uow.images.terms(
            gallery.id, max_words=CONCEPT_MAX_WORDS, max_values=CONCEPTS_PER_ATTRIBUTE, newest=WORDS_OF_IMAGES
        )
        attributes = words_of(by_attribute)
        concepts = _concepts(uow, vocabulary(attributes, composer.general_vocabulary()), index, encoder)
        uow.commit()
    return Space(mean=mean, concepts=told_apart(concepts), attributes=attributes)


def _concepts(uow: UnitOfWork, wanted: Mapping[str, ConceptKind], index: Index, encoder: Encoder) -> Concepts:
    stored = uow.concepts.load(index.id)
    if stored is not None and (stored.terms, stored.kinds) == (tuple(wanted), tuple(wanted.values())):
        return stored
    known = dict(zip(stored.terms, stored.vectors, strict=True)) if stored is not None else {}
    fresh = [term for term in wanted if term not in known]
    known.update(zip(fresh, encoder.encode_texts(fresh), strict=True))
    concepts = Concepts(
        terms=tuple(wanted),
        kinds=tuple(wanted.values()),
        vectors=np.stack([known[term] for term in wanted]).astype(np.float32),
    )
    uow.concepts.replace(index.id, concepts)
    return concepts


def words_of(by_attribute: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Attribute of each term that is a word: prices, sizes in digits and article numbers mean nothing to an encoder."""
    return {
        term.lower(): name
        for name, terms in by_attribute.items()
        for term in terms
        if any(letter.isalpha() for letter in term)
    }


def vocabulary(words: Iterable[str], general: Mapping[str, tuple[str, ...]]) -> dict[str, ConceptKind]:
    """General scenes and product words, and the catalog's own words, which may be few, and odd, or none."""
    scenes = dict.fromkeys(general[ConceptKind.SCENE], ConceptKind.SCENE)
    return scenes | dict.fromkeys([*general[ConceptKind.PRODUCT], *sorted(words)], ConceptKind.PRODUCT)


def told_apart(concepts: Concepts) -> Concepts:
    """The concepts whose vector no other concept has: words that an encoder never met all look the same to it."""
    vectors = concepts.vectors
    # Neighbours in order along any one direction find equal vectors without comparing each with each.
    order = np.argsort(vectors @ np.random.default_rng(0).standard_normal(vectors.shape[1]))
    equal = (vectors[order[1:]] * vectors[order[:-1]]).sum(axis=1) > SAME_FROM
    alone = np.ones(len(vectors), np.bool_)
    alone[order[1:][equal]] = alone[order[:-1][equal]] = False
    kept = np.flatnonzero(alone)
    return Concepts(
        terms=tuple(concepts.terms[place] for place in kept),
        kinds=tuple(concepts.kinds[place] for place in kept),
        vectors=vectors[kept],
    )


def _mean(uow: UnitOfWork, index: Index, count: int) -> Vector | None:
    """The stored mean; computed anew when the generation has doubled since, so that scores stay put between queries."""
    if index.mean is not None and count < 2 * max(index.mean_count, 1):
        return index.mean
    computed = uow.vectors.mean(index.id, sample=MEAN_SAMPLE)
    if computed is None:
        return None
    mean, _ = computed
    uow.indexes.set_mean(index.id, mean, count)
    return mean
