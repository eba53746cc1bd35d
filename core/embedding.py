"""Embedding units: pictures to vectors. An image becomes visible in the transaction that writes its vector."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import numpy as np
from PIL.Image import Image as Picture

from core.context import Context
from core.errors import EncoderMismatchError, ItemError, NotFoundError
from core.ids import new_id
from core.items import Place, PlannedItem, Remote, fetch_failed, place, superseded
from core.jobs import rank
from core.keys import blob_key
from core.models import (
    Blob,
    ClaimedUnit,
    Device,
    Gallery,
    ImageDraft,
    Index,
    ItemOutcome,
    Job,
    NewUnit,
    Queue,
    UnitKind,
    Vectors,
)
from core.pictures import decode
from core.ports import Encoder, EncoderRegistry, UnitOfWork
from core.settings import Settings

LEAST_READERS = 4
MOST_READERS = 16


def decode_side_px(encoder: Encoder) -> int:
    """Longer side at which pictures are decoded for an encoder: the same for galleries and for references."""
    return 2 * encoder.image_size_px


@dataclass(frozen=True, slots=True)
class SourcedDraft:
    """A draft and where its picture came from; `place` is what a retry reads."""

    draft: ImageDraft
    source: str
    place: Place | Remote


def embed_unit(job: Job, gallery: Gallery, drafts: Sequence[SourcedDraft]) -> NewUnit:
    """The unit that embeds these drafts into the gallery's active generation, in external_id order."""
    ordered = sorted(drafts, key=lambda sourced: sourced.draft.external_id)
    return NewUnit(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=UnitKind.EMBED,
        queue=Queue.EMBED_GPU if gallery.device is Device.GPU else Queue.EMBED,
        size=len(ordered),
        payload={
            "gallery_id": str(gallery.id),
            "index_id": str(gallery.active_index_id),
            "drafts": [
                {**asdict(sourced.draft), "source": sourced.source, "place": asdict(sourced.place)}
                for sourced in ordered
            ],
        },
    )


def _drafts(payload: Sequence[dict[str, Any]]) -> list[SourcedDraft]:
    return [
        SourcedDraft(
            draft=ImageDraft(external_id=raw["external_id"], blob=Blob(**raw["blob"]), attributes=raw["attributes"]),
            source=raw["source"],
            place=place(raw["place"]),
        )
        for raw in payload
    ]


@dataclass(frozen=True, slots=True)
class _Pools:
    """Threads that read pictures, and the one that encodes them.

    One for all units in hand: a model gains nothing from being run twice at a time, and OpenMP keeps a team of threads
    for each thread that ever called it.
    """

    readers: ThreadPoolExecutor
    encoding: ThreadPoolExecutor


def _reader_count(settings: Settings) -> int:
    return settings.decode_threads or min(MOST_READERS, max(LEAST_READERS, os.cpu_count() or 1))


class EmbedHandler:
    """Runs `embed` units. While one is encoded, others of the same worker are fetched, decoded and committed."""

    def __init__(self, ctx: Context, encoders: EncoderRegistry) -> None:
        self.ctx = ctx
        self.encoders = encoders
        self._pools = _Pools(
            readers=ThreadPoolExecutor(_reader_count(ctx.settings), thread_name_prefix="read"),
            encoding=ThreadPoolExecutor(1, thread_name_prefix="encode"),
        )

    def open(self, unit: ClaimedUnit, job: Job) -> "_Embedding":
        """Load the generation's encoder. EncoderMismatchError when it is not the one that made the stored vectors."""
        with self.ctx.uow() as uow:
            gallery = uow.galleries.by_id(UUID(unit.payload["gallery_id"]))
            index = uow.indexes.get(UUID(unit.payload["index_id"]))
        if gallery is None or index is None or gallery.deleting:
            raise NotFoundError(f"The gallery `{job.gallery_name}` was deleted meanwhile.")
        encoder = self.encoders.get(index.encoder)
        self._claim_index(index, encoder)
        return _Embedding(self.ctx, self._pools, job, gallery, index, encoder, _drafts(unit.payload["drafts"]))

    def _claim_index(self, index: Index, encoder: Encoder) -> None:
        """The first worker that loads the encoder fixes the generation's identity and makes its table."""
        if index.identity == encoder.identity:
            return
        with self.ctx.uow() as uow:
            identity = uow.indexes.set_identity(index.id, encoder.identity)
            if identity != encoder.identity:
                raise EncoderMismatchError(
                    f"This gallery was indexed with other weights of encoder `{index.encoder}` than this worker loads;"
                    " re-index the gallery, or give the worker the old weights."
                )
            uow.vectors.ensure(index.id, encoder.identity.dim)
            uow.commit()


@dataclass(frozen=True, slots=True)
class _Embedding:
    ctx: Context
    pools: _Pools
    job: Job
    gallery: Gallery
    index: Index
    encoder: Encoder
    drafts: Sequence[SourcedDraft]

    @property
    def batch_items(self) -> int:
        return self.ctx.settings.embed_batch

    def compute(self, start: int, stop: int) -> "_EmbeddedBatch":
        """Fetch, decode and embed drafts [start, stop)."""
        drafts = self.drafts[start:stop]
        found = list(self.pools.readers.map(self._picture, drafts))
        outcomes = [
            _failed(sourced, error.item_code, error.detail)
            for sourced, error in zip(drafts, found, strict=True)
            if isinstance(error, ItemError)
        ]
        readable = [pair for pair in zip(drafts, found, strict=True) if not isinstance(pair[1], ItemError)]
        pictures = [picture for _, picture in readable if isinstance(picture, Picture)]
        vectors = self.pools.encoding.submit(self.encoder.encode_images, pictures).result()
        finite = np.asarray(np.isfinite(vectors).all(axis=1), dtype=np.bool_)
        detail = "The encoder gave no finite vector for this picture; report it to the operator."
        outcomes += [
            _failed(sourced, "embedding_failed", detail)
            for (sourced, _), good in zip(readable, finite, strict=True)
            if not good
        ]
        embedded = [sourced.draft for (sourced, _), good in zip(readable, finite, strict=True) if good]
        return _EmbeddedBatch(self.job, self.gallery, self.index, embedded, vectors[finite], outcomes)

    def _picture(self, sourced: SourcedDraft) -> Picture | ItemError:
        key = blob_key(self.job.tenant_id, sourced.draft.blob.sha256)
        try:
            picture = decode(self.ctx.objects.get(key), max_side_px=decode_side_px(self.encoder))
            return self.encoder.fit(picture)  # here, where it is done on many threads, and what waits is small
        except ItemError as error:
            return error
        except NotFoundError:
            return ItemError("blob_missing", "The stored picture is gone; import it again.")

    def poison(self, item: int) -> ItemOutcome | None:
        """The item that keeps killing workers."""
        detail = "Embedding this picture ended the worker process repeatedly; it is passed over."
        return _failed(self.drafts[item], "poison", detail)


def _failed(sourced: SourcedDraft, code: str, detail: str) -> ItemOutcome:
    draft = sourced.draft
    item = PlannedItem(draft.external_id, draft.attributes, sourced.source, sourced.place)
    return fetch_failed(item, code, detail)


@dataclass(frozen=True, slots=True)
class _EmbeddedBatch:
    job: Job
    gallery: Gallery
    index: Index
    drafts: Sequence[ImageDraft]
    vectors: Vectors
    failed: Sequence[ItemOutcome]

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Image rows and vectors together; rows that a newer job wrote stay as they are."""
        written = uow.images.upsert(self.gallery, self.drafts, job_id=rank(self.job))
        mine = [
            (row, written[draft.external_id]) for row, draft in enumerate(self.drafts) if draft.external_id in written
        ]
        if mine:
            rows = [row for row, _ in mine]
            uow.vectors.upsert(self.index.id, [image.image_id for _, image in mine], self.vectors[rows])
        through = [
            ItemOutcome(draft.external_id, written[draft.external_id].outcome)
            if draft.external_id in written
            else superseded(draft.external_id)
            for draft in self.drafts
        ]
        return [*through, *self.failed]

    def rings(self) -> Sequence[Queue]:
        """Nothing follows."""
        return ()
