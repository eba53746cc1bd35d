"""Stage 1: encode the query, compose it, search, and publish the coarse order."""

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import numpy as np

from core.context import Context
from core.embedding import decode_side_px
from core.errors import EncoderMismatchError, NotFoundError
from core.filters import Filter, parse_filter
from core.ids import new_id
from core.keys import blob_key
from core.limits import picture_limits
from core.models import (
    Candidate,
    ClaimedUnit,
    Gallery,
    Index,
    ItemOutcome,
    Job,
    NewUnit,
    QueryParams,
    Queue,
    RerankOptions,
    UnitKind,
    Vector,
)
from core.pictures import crop, decode
from core.ports import Composer, Composition, CompositionInput, Encoder, EncoderRegistry, UnitOfWork
from core.space import Space, Spaces

MIN_POOL = 200


def query_params(job: Job) -> QueryParams:
    """The query that a job carries."""
    raw = dict(job.params)
    rerank, region = raw.pop("rerank"), raw.pop("reference_region")
    return QueryParams(
        **raw,
        rerank=RerankOptions(**rerank) if rerank else None,
        reference_region=tuple(region) if region else None,
    )


@dataclass(frozen=True, slots=True)
class SearchHandler:
    """Runs `search` units."""

    ctx: Context
    encoders: EncoderRegistry
    composer: Composer
    spaces: Spaces

    def open(self, unit: ClaimedUnit, job: Job) -> "_Search":
        """Resolve gallery, generation and encoder. EncoderMismatchError when vectors of two models would meet."""
        del unit
        with self.ctx.uow() as uow:
            gallery, index = active_index(uow, job)
        encoder = self.encoders.get(index.encoder)
        if index.identity is not None and index.identity != encoder.identity:
            raise EncoderMismatchError(
                f"Gallery `{gallery.name}` was indexed with other weights of encoder `{index.encoder}` than this worker"
                " loads; re-index the gallery, or give the worker the old weights."
            )
        return _Search(self, job, gallery, index, encoder)


def active_index(uow: UnitOfWork, job: Job) -> tuple[Gallery, Index]:
    """The job's gallery and its active generation. NotFoundError when either is gone."""
    gallery = uow.galleries.by_id(job.gallery_id) if job.gallery_id else None
    index = uow.indexes.get(gallery.active_index_id) if gallery and gallery.active_index_id else None
    if gallery is None or index is None or gallery.deleting:
        raise NotFoundError(f"The gallery `{job.gallery_name}` was deleted meanwhile.")
    return gallery, index


@dataclass(frozen=True, slots=True)
class _Reference:
    vector: Vector | None = None
    image_id: UUID | None = None
    sha256: str | None = None


class _Search:
    batch_items = 1

    def __init__(self, handler: SearchHandler, job: Job, gallery: Gallery, index: Index, encoder: Encoder) -> None:
        self._handler = handler
        self._ctx = handler.ctx
        self._job = job
        self._gallery = gallery
        self._index = index
        self._encoder = encoder
        self._params = query_params(job)

    def compute(self, start: int, stop: int) -> "_CoarseResult":
        """Encode, compose and search."""
        del start, stop
        began_s = time.perf_counter()
        space = self._handler.spaces.get(self._gallery, self._index, self._encoder)
        reference = self._reference()
        composition = self._compose(space, reference)
        encoded_s = time.perf_counter()
        candidates = self._candidates(composition, reference)
        timings = {"encode": _ms(encoded_s - began_s), "search": _ms(time.perf_counter() - encoded_s)}
        return _CoarseResult(self._ctx, self._job, candidates, self._result(composition, timings), self._warnings())

    def poison(self, item: int) -> ItemOutcome | None:  # noqa: ARG002 - the port's signature
        """A query is one step: without it there is no result."""
        return None

    def _reference(self) -> _Reference:
        params = self._params
        if params.reference_image_id is not None:
            return self._gallery_reference(UUID(params.reference_image_id))
        if params.reference_object_key is None:
            return _Reference()
        data = self._ctx.objects.get(params.reference_object_key)
        return _Reference(vector=self._encode(data), sha256=hashlib.sha256(data).hexdigest())

    def _gallery_reference(self, image_id: UUID) -> _Reference:
        """A picture of the gallery costs no embedding, unless only a region of it counts."""
        with self._ctx.uow() as uow:
            stored = uow.vectors.fetch(self._index.id, [image_id])
            image = uow.images.get(self._gallery.id, image_id)
        if image is None:
            raise NotFoundError("The reference image was deleted meanwhile.")
        if self._params.reference_region is None and image_id in stored:
            return _Reference(vector=stored[image_id], image_id=image_id)
        data = self._ctx.objects.get(blob_key(image.tenant_id, image.blob.sha256))
        return _Reference(vector=self._encode(data), image_id=image_id)

    def _encode(self, data: bytes) -> Vector:
        region, side_px = self._params.reference_region, decode_side_px(self._encoder)
        # A region is cut from a larger decode, so that what is left has the detail that the encoder sees.
        whole_px = side_px if region is None else math.ceil(side_px / max(region[2], region[3]))
        picture = decode(data, max_side_px=whole_px, limits=picture_limits(self._ctx.settings))
        if region is not None:
            picture = crop(picture, region)
        vector: Vector = self._encoder.encode_images([picture])[0]
        return vector

    def _compose(self, space: Space, reference: _Reference) -> Composition:
        texts = [text for text in (self._params.text, self._params.negative_text) if text]
        vectors = dict(zip(texts, self._encoder.encode_texts(texts), strict=True))
        query = CompositionInput(
            reference=reference.vector,
            text=vectors.get(self._params.text or ""),
            negative_text=vectors.get(self._params.negative_text or ""),
            mean=space.mean,
            concepts=space.concepts,
            attributes=space.attributes,
        )
        return self._handler.composer.compose(self._params.strategy, query)

    def _candidates(self, composition: Composition, reference: _Reference) -> tuple[Candidate, ...]:
        wanted = max(self._params.top_k, self._params.rerank.depth if self._params.rerank else 0) + 1
        where = parse_filter(self._params.filter) if self._params.filter else None
        exact = self._gallery.image_count <= self._ctx.settings.exact_search_below
        with self._ctx.uow() as uow:
            pool = self._pool(uow, composition, where, limit=max(MIN_POOL, 4 * wanted), exact=exact)
            stored = uow.vectors.fetch(self._index.id, list(pool))
            ids = [image_id for image_id in pool if image_id in stored]  # one may have been deleted meanwhile
            scores = composition.score(np.stack([stored[i] for i in ids])) if ids else np.zeros(0)
            order = sorted(range(len(ids)), key=lambda i: (-float(scores[i]), ids[i]))[: wanted + 1]
            hidden = self._hidden(uow, [ids[i] for i in order], reference)
        kept = [i for i in order if ids[i] not in hidden][: wanted - 1]
        return tuple(
            Candidate(
                image_id=ids[i],
                external_id=pool[ids[i]],
                coarse_rank=rank,
                coarse_score=float(scores[i]),
                rank=rank,
                score=float(scores[i]),
            )
            for rank, i in enumerate(kept, start=1)
        )

    def _pool(
        self, uow: UnitOfWork, composition: Composition, where: Filter | None, *, limit: int, exact: bool
    ) -> dict[UUID, str]:
        pool: dict[UUID, str] = {}
        for probe in composition.probes:
            hits = uow.vectors.search(self._index.id, probe, limit=limit, where=where, exact=exact)
            pool.update((hit.image_id, hit.external_id) for hit in hits)
        return pool

    def _hidden(self, uow: UnitOfWork, ids: Sequence[UUID], reference: _Reference) -> frozenset[UUID]:
        """The reference itself, also when it was uploaded and the gallery holds the same file."""
        if self._params.include_reference:
            return frozenset()
        if reference.image_id is not None:
            return frozenset({reference.image_id})
        if reference.sha256 is None:
            return frozenset()
        return frozenset(i for i, image in uow.images.many(ids).items() if image.blob.sha256 == reference.sha256)

    def _result(self, composition: Composition, timings: dict[str, int]) -> dict[str, object]:
        explanation = None
        if self._params.explain:
            explanation = {
                "kept": [list(pair) for pair in composition.explanation.kept],
                "dropped": [list(pair) for pair in composition.explanation.dropped],
            }
        return {
            "reranked": False,
            "provisional": self._params.rerank is not None,
            "reason": None,
            "strategy": self._params.strategy,
            "index_id": str(self._index.id),
            "timings_ms": timings,
            "explanation": explanation,
        }

    def _warnings(self) -> tuple[str, ...]:
        texts = (("text", self._params.text), ("negative_text", self._params.negative_text))
        limit = self._encoder.max_text_tokens
        return tuple(
            f"`{name}` was cut at {limit} tokens, the most that the encoder reads."
            for name, text in texts
            if text and self._encoder.is_cut(text)
        )


def _ms(seconds: float) -> int:
    return round(1000 * seconds)


@dataclass(frozen=True, slots=True)
class _CoarseResult:
    """Publishes the coarse order; with re-ranking on, as a provisional result and a unit for the judge."""

    ctx: Context
    job: Job
    candidates: tuple[Candidate, ...]
    result: dict[str, object]
    warnings: tuple[str, ...]

    @property
    def _rerank(self) -> RerankOptions | None:
        return query_params(self.job).rerank if self.candidates else None

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Store candidates and result, and hand on to the judge."""
        options = self._rerank
        uow.candidates.replace(self.job.id, self.candidates)
        result = {**self.result, "provisional": options is not None}
        uow.jobs.set_result(self.job.id, result, warnings=self.warnings)
        if options is not None:
            uow.jobs.set_deadline(self.job.id, self.ctx.clock.now() + timedelta(seconds=options.budget_s))
            uow.units.add([_rerank_unit(self.job)])
        return ()

    def rings(self) -> Sequence[Queue]:
        """The judge's queue, if it has work."""
        return (Queue.RERANK,) if self._rerank is not None else ()


def _rerank_unit(job: Job) -> NewUnit:
    return NewUnit(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=UnitKind.RERANK,
        queue=Queue.RERANK,
        size=1,
        payload={},
    )
