"""What the judge is trained on: for each triplet its right answer, and wrong ones of several kinds."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

import numpy as np

from core.errors import InvalidInputError
from retrieval.datasets.triplets import Triplet, TripletSet
from retrieval.train.mining import Miner

_TRIES = 8


@dataclass(frozen=True, slots=True)
class Judgment:
    """One question to the judge with its answer."""

    reference: Path
    text: str
    candidate: Path
    right: bool


class Negative(StrEnum):
    """Kinds of wrong answers."""

    KNOWN = "known"
    """A look-alike of the group (same scene, one attribute off), or what people refused."""
    GALLERY = "gallery"
    """One of the first pictures of stage 1; without an encoder, any of the gallery."""
    REFERENCE = "reference"
    """The reference itself, against a judge that only looks for likeness."""
    OTHER_TEXT = "other text"
    """The right picture with what was asked elsewhere, against a judge that does not read."""


SHARES: Mapping[Negative, float] = MappingProxyType(
    {Negative.KNOWN: 0.4, Negative.GALLERY: 0.4, Negative.REFERENCE: 0.1, Negative.OTHER_TEXT: 0.1}
)
"""How often a kind is drawn; where one has nothing to offer, the others share its part."""


class JudgmentSource:
    """Draws the judgements of triplets. What it draws depends on the triplet and the generator alone."""

    def __init__(self, data: TripletSet, miner: Miner | None) -> None:
        self._galleries = [tuple(gallery.images.values()) for gallery in data.galleries]
        self._miner = miner
        self._neighbours: dict[int, list[Triplet]] = defaultdict(list)
        for triplet in data.triplets:
            self._neighbours[triplet.gallery].append(triplet)

    def draw(self, triplet: Triplet, negatives: int, rng: np.random.Generator) -> list[Judgment]:
        """The right answer, then that many wrong ones; none of them twice unless there are too few.

        InvalidInputError when there is no wrong one at all.
        """
        judgments = [Judgment(triplet.reference, triplet.text, triplet.target, right=True)]
        while len(judgments) <= negatives:
            judgments += self._wrong(triplet, negatives + 1 - len(judgments), rng)
        return judgments

    def _wrong(self, triplet: Triplet, count: int, rng: np.random.Generator) -> list[Judgment]:
        """At least one and at most `count` different ones."""
        pools = {kind: pool for kind in Negative if (pool := self._pool(kind, triplet, count, rng))}
        drawn: dict[Judgment, None] = {}
        while pools and len(drawn) < count:
            shares = np.array([SHARES[kind] for kind in pools])
            kind = list(pools)[int(rng.choice(len(pools), p=shares / shares.sum()))]
            drawn[pools[kind].pop()] = None
            pools = {kind: pool for kind, pool in pools.items() if pool}
        if not drawn:
            raise InvalidInputError(
                f"No picture can be a wrong answer to {triplet.text!r} about {triplet.reference}: add pictures."
            )
        return list(drawn)

    def _pool(self, kind: Negative, triplet: Triplet, count: int, rng: np.random.Generator) -> list[Judgment]:
        """Up to `count` wrong answers of a kind, in random order."""
        if kind is Negative.OTHER_TEXT:
            texts = self._other_texts(triplet, rng)
            return [Judgment(triplet.reference, text, triplet.target, right=False) for text in texts]
        if kind is Negative.KNOWN:
            pictures: Sequence[Path] = triplet.wrong
        elif kind is Negative.GALLERY:
            pictures = self._of_gallery(triplet, count, rng)
        else:
            pictures = () if triplet.reference in triplet.right else (triplet.reference,)
        chosen = rng.permutation(len(pictures))[:count]
        return [Judgment(triplet.reference, triplet.text, pictures[place], right=False) for place in chosen]

    def _of_gallery(self, triplet: Triplet, count: int, rng: np.random.Generator) -> Sequence[Path]:
        if self._miner is not None:
            return self._miner.near(triplet)
        gallery = self._galleries[triplet.gallery]
        barred = {triplet.reference, *triplet.right}
        places = rng.choice(len(gallery), size=min(len(gallery), count + len(barred)), replace=False)
        return [gallery[place] for place in places if gallery[place] not in barred]

    def _other_texts(self, triplet: Triplet, rng: np.random.Generator) -> list[str]:
        """At most one: what is asked for somewhere else, of which this target is not known to be an answer."""
        neighbours = self._neighbours.get(triplet.gallery, [])
        for _ in range(_TRIES if neighbours else 0):
            other = neighbours[int(rng.integers(len(neighbours)))]
            if other.text.casefold() != triplet.text.casefold() and triplet.target not in other.right:
                return [other.text]
        return []


def epochs(triplets: Sequence[Triplet], *, size: int, seed: int, start: int) -> Iterator[list[Triplet]]:
    """Batches of `size` without end, from batch number `start`: every triplet once in each pass, in another order."""
    position = start * size
    passed, order = -1, np.empty(0, np.int64)
    while True:
        batch = []
        for place in range(position, position + size):
            if place // len(triplets) != passed:
                passed = place // len(triplets)
                order = np.random.default_rng([seed, 0, passed]).permutation(len(triplets))
            batch.append(triplets[order[place % len(triplets)]])
        yield batch
        position += size
