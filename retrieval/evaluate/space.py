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
_EVERYDAY = frozenset({"category", "color", "pattern"})

Attributes = Mapping[str, Mapping[str, str]]
"""Picture -> attribute -> value."""


class AttributeUse(StrEnum):
    """Which attributes of the data set composition may use as its vocabulary."""

    OWN = "own"
    """All that the data set has."""
    DEGRADED = "degraded"
    """Of the distinct values a part is missing from every picture, or said in other words."""
    NONE = "none"
    """None: the general vocabulary takes their place. It happens to have all values of SynthCIR."""
    UNNAMED = "unnamed"
    """None, and the general vocabulary lacks the values too, but for categories, colours and patterns."""
    UNKNOWN = "unknown"
    """None, and the general vocabulary lacks every one of the values: nothing names what the products are like."""


def build_space(
    vectors: Vectors,
    attributes: Attributes,
    *,
    encoder: Encoder,
    composer: Composer,
    unknown: frozenset[str] = frozenset(),
) -> Space:
    """Mean of a gallery float32 [n, d], and the concepts that its attributes, or the general vocabulary, define.

    The words in `unknown` are left out of the general vocabulary.
    """
    words = words_of(_frequent_values(attributes))
    general = composer.general_vocabulary()
    kinds = vocabulary(words, {kind: tuple(t for t in terms if t not in unknown) for kind, terms in general.items()})
    concepts = Concepts(terms=tuple(kinds), kinds=tuple(kinds.values()), vectors=encoder.encode_texts(list(kinds)))
    return Space(mean=vectors.mean(axis=0, dtype=np.float32), concepts=told_apart(concepts), attributes=words)


def use_attributes(attributes: Attributes, use: AttributeUse) -> Attributes:
    """The attributes that composition sees; which values are spoiled is always the same choice."""
    if use is AttributeUse.OWN:
        return attributes
    if use is not AttributeUse.DEGRADED:
        return {}
    spoiled = _spoiled(sorted({value for each in attributes.values() for value in each.values()}))
    return {
        picture: {name: spoiled.get(value, value) for name, value in each.items() if spoiled.get(value, value)}
        for picture, each in attributes.items()
    }


def unknown_words(attributes: Attributes, use: AttributeUse) -> frozenset[str]:
    """Values of the data set that composition must not know from elsewhere."""
    if use not in {AttributeUse.UNNAMED, AttributeUse.UNKNOWN}:
        return frozenset()
    known = _EVERYDAY if use is AttributeUse.UNNAMED else frozenset()
    return frozenset(value for each in attributes.values() for name, value in each.items() if name not in known)


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
