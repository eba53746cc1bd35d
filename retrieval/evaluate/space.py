"""What composition knows of a benchmark's gallery, built as `core.space` builds it from Postgres."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

import numpy as np

from core.models import Concepts, Vectors
from core.ports import Composer, Encoder
from core.space import CONCEPT_MAX_WORDS, CONCEPTS_PER_ATTRIBUTE, Space, told_apart, vocabulary, words_of
from retrieval.datasets.wording import NOUNS, WORDINGS

MISSING_SHARE = 0.3
"""Share of the distinct attribute values that `AttributeUse.DEGRADED` spoils."""
_SEED = 30

Attributes = Mapping[str, Mapping[str, str]]
"""Picture -> attribute -> value."""


class AttributeUse(StrEnum):
    """Which attributes of the data set composition may use as its vocabulary."""

    OWN = "own"
    """All that the data set has."""
    DEGRADED = "degraded"
    """Of the distinct values a part is missing from every picture, or said in other words."""
    NONE = "none"
    """None: the general vocabulary takes their place."""


def build_space(vectors: Vectors, attributes: Attributes, *, encoder: Encoder, composer: Composer) -> Space:
    """Mean of a gallery float32 [n, d], and the concepts that its attributes, or the general vocabulary, define."""
    words = words_of(_frequent_values(attributes))
    kinds = vocabulary(words, composer.general_vocabulary())
    concepts = Concepts(terms=tuple(kinds), kinds=tuple(kinds.values()), vectors=encoder.encode_texts(list(kinds)))
    return Space(mean=vectors.mean(axis=0, dtype=np.float32), concepts=told_apart(concepts), attributes=words)


def use_attributes(attributes: Attributes, use: AttributeUse) -> Attributes:
    """The attributes that composition sees; which values are spoiled is always the same choice."""
    if use is AttributeUse.OWN:
        return attributes
    if use is AttributeUse.NONE:
        return {}
    spoiled = _spoiled(sorted({value for each in attributes.values() for value in each.values()}))
    return {
        picture: {name: spoiled.get(value, value) for name, value in each.items() if spoiled.get(value, value)}
        for picture, each in attributes.items()
    }


def _spoiled(values: list[str]) -> dict[str, str]:
    """Value -> a synonym, or nothing, in turn; nothing too where no synonym is known."""
    rng = np.random.default_rng(_SEED)
    chosen = rng.permutation(len(values))[: round(MISSING_SHARE * len(values))]
    return {values[index]: _synonym(values[index]) if turn % 2 else "" for turn, index in enumerate(chosen)}


def _synonym(value: str) -> str:
    wording = WORDINGS.get(value)
    words = NOUNS.get(value, ()) if wording is None else (*wording.before, *wording.after)
    short = [word for word in words if value not in word and len(word.split()) <= CONCEPT_MAX_WORDS]
    return short[0] if short else ""


def _frequent_values(attributes: Attributes) -> dict[str, tuple[str, ...]]:
    """The most frequent short values of each attribute, as `Images.terms` finds them in Postgres."""
    counts: dict[str, Counter[str]] = {}
    for each in attributes.values():
        for name, value in each.items():
            term = " ".join(value.split())
            if term and len(term.split()) <= CONCEPT_MAX_WORDS:
                counts.setdefault(name, Counter())[term] += 1
    return {
        name: tuple(sorted(counted, key=lambda term: (-counted[term], term))[:CONCEPTS_PER_ATTRIBUTE])
        for name, counted in sorted(counts.items())
    }
