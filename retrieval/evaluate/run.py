"""Runs a benchmark through the service's own stages: the composer, the judge, and the final order of both."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from core.errors import InvalidInputError, ModelLoadError
from core.models import Candidate, Explanation, Vector
from core.ports import Captioner, Composer, Composition, CompositionInput, Encoder, Judge
from core.reranking import final_order, request_of
from retrieval.datasets.composed import CirDataset, CirQuery
from retrieval.evaluate.embeddings import Progress, VectorCache, gallery_vectors, silent
from retrieval.evaluate.gallery import Gallery
from retrieval.evaluate.protocols import DEPTH, PROTOCOLS, CirProtocol, Places, Ranked, best_first, of_members
from retrieval.evaluate.space import AttributeUse

_CAPTION = "caption"


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
    of each part, evenly spread. `drop_reference` is the protocol's own choice where it is None. `negatives` gives
    what a query's texts deny as its negative text too, where the data set tells it.
    """

    strategy: str = "intersection"
    depth: int = DEPTH
    limit: int | None = None
    drop_reference: bool | None = None
    attributes: AttributeUse = AttributeUse.OWN
    negatives: bool = False


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
    """Answer every query of a split, given as its parts, scoring whole galleries exactly; for once (`Evaluator`)."""
    evaluator = Evaluator(datasets, models.encoder, models.composer, cache=cache)
    return evaluator.run(options, judge=models.judge, captioner=models.captioner, progress=progress)


class Evaluator:
    """A split, given as its parts, for any number of ways to answer its queries.

    Vectors, texts, concepts and decoded pictures are shared by all of them.
    """

    def __init__(
        self,
        datasets: Sequence[CirDataset],
        encoder: Encoder,
        composer: Composer,
        *,
        cache: VectorCache | None = None,
    ) -> None:
        self._datasets = tuple(datasets)
        self._encoder = encoder
        self._composer = composer
        self._cache = cache or VectorCache()
        self._protocol = PROTOCOLS[datasets[0].name]
        self._galleries: list[Gallery] = []

    def run(
        self,
        options: EvalOptions,
        *,
        judge: Judge | None = None,
        captioner: Captioner | None = None,
        progress: Progress = silent,
    ) -> Evaluation:
        """Answer every query, scoring whole galleries exactly.

        InvalidInputError for an unknown strategy and for pictures that cannot be read; ModelLoadError when the strategy
        needs a captioner and there is none.
        """
        models = Models(self._encoder, self._composer, judge, captioner)
        _check(options, models)
        protocol = self._protocol
        drops = protocol.drops_reference if options.drop_reference is None else options.drop_reference
        answers = []
        for dataset, gallery in zip(self._datasets, self._embedded(progress), strict=True):
            part = _Part(gallery, models, options, drops_reference=drops)
            answers.append(part.answer(spread(dataset.queries, options.limit), progress))
        return Evaluation(protocol, self._datasets, tuple(answers), models, options, drops, self._cache.compute)

    def _embedded(self, progress: Progress) -> list[Gallery]:
        """The galleries, embedded when they are first needed."""
        for dataset in self._datasets[len(self._galleries) :]:
            vectors = gallery_vectors(dataset, self._encoder, self._cache, progress=progress)
            self._galleries.append(Gallery(dataset, vectors, encoder=self._encoder, composer=self._composer))
        return self._galleries


def _check(options: EvalOptions, models: Models) -> None:
    if options.strategy == _CAPTION and models.captioner is None:
        raise ModelLoadError("The strategy `caption` needs a captioner: set SETR_CAPTIONER to the spec of a model.")
    if options.strategy not in models.composer.names():
        known = ", ".join(models.composer.names())
        raise InvalidInputError(f"There is no strategy {options.strategy!r}: use one of {known}.")


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
    """One gallery, and how queries about it are answered."""

    def __init__(self, gallery: Gallery, models: Models, options: EvalOptions, *, drops_reference: bool) -> None:
        self._gallery = gallery
        self._models = models
        self._options = options
        self._drops_reference = drops_reference
        self._space = gallery.space(options.attributes)

    def answer(self, queries: Sequence[CirQuery], progress: Progress) -> tuple[Answer, ...]:
        """Answers in the order of the queries."""
        texts = self._gallery.texts(queries)
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
        ordered = [self._gallery.names[place] for place in coarse.order]
        ranked = Ranked(tuple(ordered[:DEPTH]), of_members(ordered, query.members))
        return Answer(query, ranked, final, coarse.composition.explanation, coarse.description)

    def _search(self, query: CirQuery, text: Vector | None) -> _Coarse:
        place = self._gallery.places[query.reference]
        description = self._describe(query)
        composition = self._models.composer.compose(
            "image" if text is None else self._options.strategy,
            CompositionInput(
                reference=self._gallery.vectors[place],
                text=text,
                negative_text=self._encode_negative(query),
                mean=self._space.mean,
                concepts=self._space.concepts,
                attributes=self._space.attributes,
                caption=None if description is None else self._encode_description(description, query),
                phrases=self._gallery.phrases(query),
            ),
        )
        scores = composition.score(self._gallery.vectors)
        order = best_first(scores, without=place if self._drops_reference else None)
        return _Coarse(order, scores, composition, description)

    def _negative_text(self, query: CirQuery) -> str | None:
        return query.denied if self._options.negatives else None

    def _encode_negative(self, query: CirQuery) -> Vector | None:
        denied = self._negative_text(query)
        if denied is None:
            return None
        vector: Vector = self._models.encoder.encode_texts([denied])[0]
        return vector

    def _describe(self, query: CirQuery) -> str | None:
        """The captioner's words for the target, where the strategy asks for them; may be empty."""
        captioner = self._models.captioner
        if self._options.strategy != _CAPTION or captioner is None or not query.texts:
            return None
        return captioner.caption(self._gallery.picture(query.reference), query.texts[0]).strip()

    def _encode_description(self, description: str, query: CirQuery) -> Vector:
        """As the service has it, the text itself stands in for a description that is empty."""
        vector: Vector = self._models.encoder.encode_texts([description or query.texts[0]])[0]
        return vector

    def _rerank(self, query: CirQuery, coarse: _Coarse, judge: Judge) -> Ranked:
        """The shortlist in its final order before the rest of the ranking; members outside of it are judged as well."""
        names = self._gallery.names
        ranks = {int(place): rank for rank, place in enumerate(coarse.order, start=1)}
        shortlist = [int(place) for place in coarse.order[: self._options.depth]]
        members = [self._gallery.places[name] for name in query.members]
        judged = shortlist + sorted(set(members) - set(shortlist), key=lambda place: ranks[place])
        pictures = [self._gallery.picture(names[place]) for place in judged]
        reference = self._gallery.picture(query.reference)
        scores = judge.score(reference, request_of(query.texts[0], self._negative_text(query)), pictures)
        p_yes = {UUID(int=place): float(p) for place, p in zip(judged, scores, strict=True)}
        candidates = [self._candidate(place, ranks[place], coarse) for place in judged]
        first = final_order(candidates[: len(shortlist)], p_yes, weight=judge.weight)
        every = final_order(candidates, p_yes, weight=judge.weight)
        rest = [names[place] for place in coarse.order[len(shortlist) : DEPTH]]
        ranking = [*(candidate.external_id for candidate in first), *rest]
        group = of_members([candidate.external_id for candidate in every], query.members)
        return Ranked(tuple(ranking[:DEPTH]), group)

    def _candidate(self, place: int, rank: int, coarse: _Coarse) -> Candidate:
        score = float(coarse.scores[place])
        return Candidate(
            image_id=UUID(int=place),
            external_id=self._gallery.names[place],
            coarse_rank=rank,
            coarse_score=score,
            rank=rank,
            score=score,
        )
