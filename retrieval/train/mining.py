"""Stage 1 in the service of training: which wrong pictures look right to it, and what the judge will have to order."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.models import Vector, Vectors
from core.ports import Composer, CompositionInput, Encoder
from core.space import Space
from retrieval.compose import phrases
from retrieval.datasets.composed import CirDataset
from retrieval.datasets.triplets import Triplet
from retrieval.evaluate.embeddings import Progress, VectorCache, gallery_vectors, silent
from retrieval.evaluate.protocols import Places, best_first
from retrieval.evaluate.space import build_space


@dataclass(frozen=True, slots=True)
class MiningRule:
    """How stage 1 composes, how deep it is looked into for negatives, and which of these are suspected to be right.

    A picture that stage 1 puts more than `margin` standard deviations (of the query's scores) above the target is no
    negative: most likely the annotators did not look at it.
    """

    strategy: str = "intersection"
    depth: int = 100
    margin: float = 0.1


@dataclass(frozen=True, slots=True)
class Shortlist:
    """Pictures best first, the reference left out, with stage 1's scores float32 [n]."""

    pictures: tuple[Path, ...]
    scores: Vector


@dataclass(frozen=True, slots=True)
class _Gallery:
    paths: tuple[Path, ...]
    places: dict[Path, int]
    vectors: Vectors
    space: Space


class Miner:
    """Answers triplets as stage 1 would. Build it with `build_miner`."""

    def __init__(self, galleries: Sequence[_Gallery], encoder: Encoder, composer: Composer, rule: MiningRule) -> None:
        self._galleries = galleries
        self._encoder = encoder
        self._composer = composer
        self._rule = rule

    def near(self, triplet: Triplet) -> tuple[Path, ...]:
        """The first pictures that are neither the reference, nor known or suspected to be right; may be empty."""
        gallery = self._galleries[triplet.gallery]
        scores, order = self._answer(triplet)
        highest = scores[gallery.places[triplet.target]] + self._rule.margin * scores.std()
        right = {gallery.places[path] for path in triplet.right}
        shortlist = (place for place in order[: self._rule.depth] if place not in right and scores[place] <= highest)
        return tuple(gallery.paths[place] for place in shortlist)

    def shortlist(self, triplet: Triplet, depth: int) -> Shortlist:
        """What the judge would be given: at most `depth` pictures, fewer in a small gallery."""
        scores, order = self._answer(triplet)
        paths = self._galleries[triplet.gallery].paths
        return Shortlist(tuple(paths[place] for place in order[:depth]), scores[order[:depth]])

    def _answer(self, triplet: Triplet) -> tuple[Vector, Places]:
        gallery = self._galleries[triplet.gallery]
        place = gallery.places[triplet.reference]
        composition = self._composer.compose(
            self._rule.strategy,
            CompositionInput(
                reference=gallery.vectors[place],
                text=self._encoder.encode_texts([triplet.text])[0],
                negative_text=None,
                mean=gallery.space.mean,
                concepts=gallery.space.concepts,
                attributes=gallery.space.attributes,
                phrases=phrases(self._composer.read(triplet.text), self._encoder),
            ),
        )
        scores = np.asarray(composition.score(gallery.vectors), np.float32)
        return scores, best_first(scores, without=place)


@dataclass(frozen=True, slots=True)
class Stage1:
    """The models of stage 1, and where vectors are kept."""

    encoder: Encoder
    composer: Composer
    cache: VectorCache


def build_miner(
    galleries: Sequence[CirDataset], stage1: Stage1, rule: MiningRule, *, progress: Progress = silent
) -> Miner:
    """Embed the galleries (once: vectors are kept) and get ready to answer.

    InvalidInputError lists pictures that cannot be read.
    """
    return Miner([_embed(each, stage1, progress) for each in galleries], stage1.encoder, stage1.composer, rule)


def _embed(dataset: CirDataset, stage1: Stage1, progress: Progress) -> _Gallery:
    vectors = gallery_vectors(dataset, stage1.encoder, stage1.cache, progress=progress)
    space = build_space(vectors, dataset.attributes, encoder=stage1.encoder, composer=stage1.composer)
    paths = tuple(dataset.images.values())
    return _Gallery(paths, {path: place for place, path in enumerate(paths)}, vectors, space)
