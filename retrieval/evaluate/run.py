"""Runs a benchmark through the service's own stages: the composer, the judge, and the final order of both."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from uuid import UUID

import numpy as np
from PIL.Image import Image as Picture

from core.errors import InvalidInputError, ModelLoadError
from core.models import Candidate, Explanation, Vector, Vectors
from core.pictures import decode
from core.ports import Captioner, Composer, Composition, CompositionInput, Encoder, Judge
from core.reranking import PICTURE_SIDE_PX, final_order
from core.space import Space
from retrieval.datasets.composed import CirDataset, CirQuery
from retrieval.evaluate.embeddings import Progress, VectorCache, gallery_vectors, silent
from retrieval.evaluate.protocols import DEPTH, PROTOCOLS, CirProtocol, Places, Ranked, best_first, of_members
from retrieval.evaluate.space import AttributeUse, build_space, use_attributes
from retrieval.strategies.linear import unit

_CAPTION = "caption"
_PICTURES_KEPT = 128
"""Decoded pictures that wait for the next query, which often has them on its list too."""


@dataclass(frozen=True, slots=True)
class Models:
    """What is measured. Without a judge there is stage 1 only; the strategy `caption` needs a captioner."""

    encoder: Encoder
    composer: Composer
    judge: Judge | None = None
    captioner: Captioner | None = None


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """How it is measured.

    The judge sees the first `depth` of each ranking, and the rest of the query's group. `limit` keeps that many queries
    of each part, evenly spread. `drop_reference` is the protocol's own choice where it is None.
    """

    strategy: str = "intersection"
    depth: int = DEPTH
    limit: int | None = None
    drop_reference: bool | None = None
    attributes: AttributeUse = AttributeUse.OWN


@dataclass(frozen=True, slots=True)
class Answer:
    """One query with what stage 1 found, what stage 2 made of it (None without a judge), and why.

    `description` is what a captioner wrote of the target; None where nobody asked for it.
    """

    query: CirQuery
    coarse: Ranked
    final: Ranked | None
    explanation: Explanation
    description: str | None = None

    @property
    def ranked(self) -> Ranked:
        """The last word."""
        return self.coarse if self.final is None else self.final


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Answers to the queries of each part, and what they were got with."""

    protocol: CirProtocol
    datasets: tuple[CirDataset, ...]
    answers: tuple[tuple[Answer, ...], ...]
    models: Models
    options: EvalOptions
    drops_reference: bool
    compute: str


def evaluate(
    datasets: Sequence[CirDataset],
    models: Models,
    options: EvalOptions,
    *,
    cache: VectorCache | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Answer every query of a split, given as its parts, scoring whole galleries exactly.

    InvalidInputError for an unknown strategy and for pictures that cannot be read; ModelLoadError when the strategy
    needs a captioner and there is none.
    """
    if options.strategy == _CAPTION and models.captioner is None:
        raise ModelLoadError("The strategy `caption` needs a captioner: set SETR_CAPTIONER to the spec of a model.")
    if options.strategy not in models.composer.names():
        known = ", ".join(models.composer.names())
        raise InvalidInputError(f"There is no strategy {options.strategy!r}: use one of {known}.")
    cache = cache or VectorCache()
    protocol = PROTOCOLS[datasets[0].name]
    drops = protocol.drops_reference if options.drop_reference is None else options.drop_reference
    answers = []
    for dataset in datasets:
        queries = spread(dataset.queries, options.limit)
        vectors = gallery_vectors(dataset, models.encoder, cache, progress=progress)
        part = _Part(dataset, vectors, models, options, drops_reference=drops)
        answers.append(part.answer(queries, progress))
    return Evaluation(protocol, tuple(datasets), tuple(answers), models, options, drops, cache.compute)


def spread(queries: Sequence[CirQuery], limit: int | None) -> tuple[CirQuery, ...]:
    """At most `limit` queries, evenly over all of them: the first ones are often about the same few pictures."""
    if limit is None or limit >= len(queries):
        return tuple(queries)
    return tuple(queries[index] for index in np.linspace(0, len(queries) - 1, limit).round().astype(int))


@dataclass(frozen=True, slots=True)
class _Coarse:
    """Stage 1 of one query: places of the gallery best first, and the score of every place."""

    order: Places
    scores: Vector
    composition: Composition
    description: str | None


class _Part:
    """One gallery and what is needed to answer queries about it."""

    def __init__(
        self, dataset: CirDataset, vectors: Vectors, models: Models, options: EvalOptions, *, drops_reference: bool
    ) -> None:
        self._names = tuple(dataset.images)
        self._places = {name: place for place, name in enumerate(self._names)}
        self._images = dataset.images
        self._vectors = vectors
        self._models = models
        self._options = options
        self._drops_reference = drops_reference
        attributes = use_attributes(dataset.attributes, options.attributes)
        self._space: Space = build_space(vectors, attributes, encoder=models.encoder, composer=models.composer)
        self._picture = lru_cache(maxsize=_PICTURES_KEPT)(_read_picture)

    def answer(self, queries: Sequence[CirQuery], progress: Progress) -> tuple[Answer, ...]:
        """Answers in the order of the queries."""
        texts = _encode_texts(queries, self._models.encoder)
        label = "searching" if self._models.judge is None else "judging"
        answers = []
        with progress(label, len(queries)) as update:
            for done, (query, text) in enumerate(zip(queries, texts, strict=True), start=1):
                answers.append(self._answer(query, text))
                update(done)
        return tuple(answers)

    def _answer(self, query: CirQuery, text: Vector | None) -> Answer:
        coarse = self._search(query, text)
        judge = self._models.judge
        final = None if judge is None or not query.texts else self._rerank(query, coarse, judge)
        ordered = [self._names[place] for place in coarse.order]
        ranked = Ranked(tuple(ordered[:DEPTH]), of_members(ordered, query.members))
        return Answer(query, ranked, final, coarse.composition.explanation, coarse.description)

    def _search(self, query: CirQuery, text: Vector | None) -> _Coarse:
        place = self._places[query.reference]
        description = self._describe(query)
        composition = self._models.composer.compose(
            "image" if text is None else self._options.strategy,
            CompositionInput(
                reference=self._vectors[place],
                text=text,
                negative_text=None,
                mean=self._space.mean,
                concepts=self._space.concepts,
                attributes=self._space.attributes,
                caption=None if description is None else self._encode_description(description, query),
            ),
        )
        scores = composition.score(self._vectors)
        order = best_first(scores, without=place if self._drops_reference else None)
        return _Coarse(order, scores, composition, description)

    def _describe(self, query: CirQuery) -> str | None:
        """The captioner's words for the target, where the strategy asks for them; may be empty."""
        captioner = self._models.captioner
        if self._options.strategy != _CAPTION or captioner is None or not query.texts:
            return None
        return captioner.caption(self._picture(self._images[query.reference]), query.texts[0]).strip()

    def _encode_description(self, description: str, query: CirQuery) -> Vector:
        """As the service has it, the text itself stands in for a description that is empty."""
        vector: Vector = self._models.encoder.encode_texts([description or query.texts[0]])[0]
        return vector

    def _rerank(self, query: CirQuery, coarse: _Coarse, judge: Judge) -> Ranked:
        """The shortlist in its final order before the rest of the ranking; members outside of it are judged as well."""
        ranks = {int(place): rank for rank, place in enumerate(coarse.order, start=1)}
        shortlist = [int(place) for place in coarse.order[: self._options.depth]]
        members = [self._places[name] for name in query.members]
        judged = shortlist + sorted(set(members) - set(shortlist), key=lambda place: ranks[place])
        pictures = [self._picture(self._images[self._names[place]]) for place in judged]
        reference = self._picture(self._images[query.reference])
        scores = judge.score(reference, query.texts[0], pictures)
        p_yes = {UUID(int=place): float(p) for place, p in zip(judged, scores, strict=True)}
        candidates = [self._candidate(place, ranks[place], coarse) for place in judged]
        first = final_order(candidates[: len(shortlist)], p_yes, weight=judge.weight)
        every = final_order(candidates, p_yes, weight=judge.weight)
        rest = [self._names[place] for place in coarse.order[len(shortlist) : DEPTH]]
        ranking = [*(candidate.external_id for candidate in first), *rest]
        group = of_members([candidate.external_id for candidate in every], query.members)
        return Ranked(tuple(ranking[:DEPTH]), group)

    def _candidate(self, place: int, rank: int, coarse: _Coarse) -> Candidate:
        score = float(coarse.scores[place])
        return Candidate(
            image_id=UUID(int=place),
            external_id=self._names[place],
            coarse_rank=rank,
            coarse_score=score,
            rank=rank,
            score=score,
        )


def _read_picture(path: Path) -> Picture:
    return decode(path.read_bytes(), max_side_px=PICTURE_SIDE_PX)


def _encode_texts(queries: Sequence[CirQuery], encoder: Encoder) -> list[Vector | None]:
    """Unit vector of each query's text, of several wordings the direction of their mean; None where there is none."""
    texts = [text for query in queries for text in query.texts]
    vectors = encoder.encode_texts(texts)
    found: list[Vector | None] = []
    start = 0
    for query in queries:
        stop = start + len(query.texts)
        found.append(unit(vectors[start:stop].mean(axis=0)) if stop > start else None)
        start = stop
    return found
