"""Stage 1: encode the query, compose it, search, and publish the coarse order."""

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import numpy as np
from PIL.Image import Image as Picture

from core.context import Context
from core.embedding import decode_side_px
from core.errors import EncoderMismatchError, ModelLoadError, NotFoundError
from core.filters import Filter, parse_filter
from core.ids import new_id
from core.keys import blob_key
from core.limits import picture_limits
from core.models import (
    Candidate,
    ClaimedUnit,
    Gallery,
    Image,
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
from core.ports import (
    Captioner,
    Composer,
    Composition,
    CompositionInput,
    Encoder,
    EncoderRegistry,
    Phrases,
    UnitOfWork,
)
from core.space import Space, Spaces

MIN_POOL = 200
REFERENCE_SIDE_PX = 768
"""Longer side of a reference picture as multimodal models see it."""


def query_params(job: Job) -> QueryParams:
    """The query that a job carries."""
    raw = dict(job.params)
    rerank, region = raw.pop("rerank"), raw.pop("reference_region")
    return QueryParams(
        **raw,
        rerank=RerankOptions(**rerank) if rerank else None,
        reference_region=tuple(region) if region else None,
    )


def reference_picture(ctx: Context, params: QueryParams, image: Image | None) -> Picture:
    """The reference, cut to its region: the uploaded file, or else `image`, which is its image of the gallery.

    NotFoundError when that is gone; ItemError when the file is no readable picture.
    """
    if params.reference_object_key is not None:
        key = params.reference_object_key
    elif image is not None:
        key = blob_key(image.tenant_id, image.blob.sha256)
    else:
        raise NotFoundError("The reference image was deleted meanwhile.")
    picture = decode(ctx.objects.get(key), max_side_px=REFERENCE_SIDE_PX, limits=picture_limits(ctx.settings))
    return crop(picture, params.reference_region) if params.reference_region else picture


@dataclass(frozen=True, slots=True)
class SearchHandler:
    """Runs `search` units. Without a captioner, queries of the strategy `caption` fail."""

    ctx: Context
    encoders: EncoderRegistry
    composer: Composer
    spaces: Spaces
    captioner: Captioner | None = None

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
        """Describe where the strategy asks for it, encode, compose and search."""
        del start, stop
        began_s = time.perf_counter()
        description = self._description()
        described_s = time.perf_counter()
        space = self._handler.spaces.get(self._gallery, self._index, self._encoder)
        reference = self._reference()
        composition = self._compose(space, reference, description)
        encoded_s = time.perf_counter()
        candidates = self._candidates(composition, reference)
        timings = {"encode": _ms(encoded_s - described_s), "search": _ms(time.perf_counter() - encoded_s)}
        if description is not None:
            timings["caption"] = _ms(described_s - began_s)
        result = self._result(composition, timings, description)
        return _CoarseResult(self._ctx, self._job, candidates, result, self._warnings(description))

    def poison(self, item: int) -> ItemOutcome | None:  # noqa: ARG002 - the port's signature
        """A query is one step: without it there is no result."""
        return None

    def _description(self) -> str | None:
        """The captioner's words for the target; empty when it had none. None where nobody asks for a description."""
        params = self._params
        if params.strategy != "caption" or params.text is None or not self._has_reference:
            return None
        if self._handler.captioner is None:
            raise ModelLoadError("This worker has no captioner: start it with the SETR_CAPTIONER that the API has.")
        image = None
        if params.reference_image_id is not None:
            with self._ctx.uow() as uow:
                image = uow.images.get(self._gallery.id, UUID(params.reference_image_id))
        picture = reference_picture(self._ctx, params, image)
        return self._handler.captioner.caption(picture, params.text).strip()

    @property
    def _has_reference(self) -> bool:
        return self._params.reference_image_id is not None or self._params.reference_object_key is not None

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

    def _compose(self, space: Space, reference: _Reference, description: str | None) -> Composition:
        wanted = None if description is None else description or self._params.text
        texts = [text for text in (self._params.text, self._params.negative_text, wanted) if text]
        vectors = dict(zip(texts, self._encoder.encode_texts(texts), strict=True))
        query = CompositionInput(
            reference=reference.vector,
            text=vectors.get(self._params.text or ""),
            negative_text=vectors.get(self._params.negative_text or ""),
            mean=space.mean,
            concepts=space.concepts,
            attributes=space.attributes,
            caption=vectors.get(wanted or ""),
            phrases=self._phrases(reference),
        )
        return self._handler.composer.compose(self._params.strategy, query)

    def _phrases(self, reference: _Reference) -> Phrases | None:
        """Of a text that says what to do with a reference."""
        if reference.vector is None or not self._params.text:
            return None
        return self._handler.composer.phrases(self._params.text, self._encoder)

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

    def _result(self, composition: Composition, timings: dict[str, int], description: str | None) -> dict[str, object]:
        explanation: dict[str, object] | None = None
        if self._params.explain:
            explanation = {
                "kept": [list(pair) for pair in composition.explanation.kept],
                "dropped": [list(pair) for pair in composition.explanation.dropped],
            }
            if description is not None:
                explanation["description"] = description
        return {
            "reranked": False,
            "provisional": self._params.rerank is not None,
            "reason": None,
            "strategy": self._params.strategy,
            "index_id": str(self._index.id),
            "timings_ms": timings,
            "explanation": explanation,
        }

    def _warnings(self, description: str | None) -> tuple[str, ...]:
        params, limit = self._params, self._encoder.max_text_tokens
        texts = (("`text`", params.text), ("`negative_text`", params.negative_text), ("The description", description))
        warnings = [
            f"{name} was cut at {limit} tokens, the most that the encoder reads."
            for name, text in texts
            if text and self._encoder.is_cut(text)
        ]
        if description == "":
            warnings.append("The captioner had no description; the search went by `text` alone.")
        return tuple(warnings)


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
