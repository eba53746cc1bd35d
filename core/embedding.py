"""Embedding units: pictures to vectors. An image becomes visible in the transaction that writes its vector.

Every generation of the gallery gets the vector in that transaction: those in step from this unit, which runs their
encoders too; to the others the transaction owes it. What it owes, it removes: no generation keeps a vector of a picture
that the image no longer has. See docs/adr/0021.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import numpy as np
import structlog

from core import generations
from core.context import Context
from core.embedder import Embedder, usable
from core.errors import EncoderMismatchError, ItemError, ModelLoadError, NotFoundError, UnavailableError
from core.ids import new_id
from core.items import Place, PlannedItem, Remote, fetch_failed, place, place_as_raw, superseded
from core.jobs import rank
from core.models import (
    Blob,
    ClaimedUnit,
    Device,
    Gallery,
    ImageDraft,
    Index,
    IndexState,
    ItemOutcome,
    Job,
    NewUnit,
    Queue,
    UnitKind,
    Vectors,
)
from core.ports import Encoder, EncoderRegistry, UnitOfWork
from core.quotas import Quota, quota_of

log = structlog.get_logger()


def embed_queue(gallery: Gallery) -> Queue:
    """Where the gallery's pictures are embedded."""
    return Queue.EMBED_GPU if gallery.device is Device.GPU else Queue.EMBED


@dataclass(frozen=True, slots=True)
class SourcedDraft:
    """A draft and where its picture came from; `place` is what a retry reads."""

    draft: ImageDraft
    source: str
    place: Place | Remote


def embed_unit(job: Job, gallery: Gallery, drafts: Sequence[SourcedDraft]) -> NewUnit:
    """The unit that embeds these drafts, in external_id order."""
    ordered = sorted(drafts, key=lambda sourced: sourced.draft.external_id)
    return NewUnit(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=UnitKind.EMBED,
        queue=embed_queue(gallery),
        size=len(ordered),
        payload={
            "drafts": [
                {**asdict(sourced.draft), "source": sourced.source, "place": place_as_raw(sourced.place)}
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


class EmbedHandler:
    """Runs `embed` units."""

    def __init__(self, ctx: Context, encoders: EncoderRegistry, embedder: Embedder) -> None:
        self.ctx = ctx
        self.encoders = encoders
        self.embedder = embedder

    def open(self, unit: ClaimedUnit, job: Job) -> "_Embedding":
        """Load the encoders of the gallery's generations that are in step.

        EncoderMismatchError when the active one's is not the one that made its stored vectors.
        """
        with self.ctx.uow() as uow:
            gallery, active = generations.active(uow, job)
            live = uow.indexes.live(gallery.id)
            quota = quota_of(uow, self.ctx.settings, job.tenant_id)
        encoders = {active.id: self._encoder(active)}
        for index in live:
            if index.in_step and index.id != active.id:
                try:
                    encoders[index.id] = self._encoder(index)
                except (ModelLoadError, EncoderMismatchError) as error:
                    log.warning("index.owed", index_id=str(index.id), code=error.code, detail=error.detail)
        return _Embedding(self.ctx, self.embedder, job, gallery, quota, encoders, _drafts(unit.payload["drafts"]))

    def _encoder(self, index: Index) -> Encoder:
        encoder = self.encoders.get(index.encoder)
        generations.claim_identity(self.ctx, index, encoder)
        return encoder


@dataclass(frozen=True, slots=True)
class _Embedding:
    """`encoders` by generation, the active one's first; several may share one."""

    ctx: Context
    embedder: Embedder
    job: Job
    gallery: Gallery
    quota: Quota
    encoders: Mapping[UUID, Encoder]
    drafts: Sequence[SourcedDraft]

    @property
    def batch_items(self) -> int:
        """Images that are encoded and written together."""
        return self.ctx.settings.embed_batch

    def compute(self, start: int, stop: int) -> "_EmbeddedBatch":
        """Fetch, decode and embed drafts [start, stop)."""
        drafts = self.drafts[start:stop]
        distinct = list({id(encoder): encoder for encoder in self.encoders.values()}.values())
        sha256s = [sourced.draft.blob.sha256 for sourced in drafts]
        embedded = self.embedder.embed(self.job.tenant_id, sha256s, distinct)
        vectors = {index_id: embedded.vectors[distinct.index(encoder)] for index_id, encoder in self.encoders.items()}
        return _EmbeddedBatch(self.job, self.gallery, self.quota, drafts, vectors, embedded.errors)

    def poison(self, item: int) -> ItemOutcome | None:
        """The item that keeps killing workers."""
        detail = "Embedding this picture ended the worker process repeatedly; it is passed over."
        return _failed(self.drafts[item], "poison", detail)


def _failed(sourced: SourcedDraft, code: str, detail: str) -> ItemOutcome:
    return fetch_failed(_planned(sourced), code, detail)


def _planned(sourced: SourcedDraft) -> PlannedItem:
    draft = sourced.draft
    return PlannedItem(draft.external_id, draft.attributes, sourced.source, sourced.place)


@dataclass(frozen=True, slots=True)
class _EmbeddedBatch:
    """`vectors` by generation, a row for each draft; `errors` by place among the drafts."""

    job: Job
    gallery: Gallery
    quota: Quota
    drafts: Sequence[SourcedDraft]
    vectors: Mapping[UUID, Vectors]
    errors: Mapping[int, ItemError]

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Image rows and vectors together; rows that a newer job wrote stay as they are."""
        uow.indexes.hold(self.gallery.id)
        live = uow.indexes.live(self.gallery.id)
        good = usable(self._active_vectors(live))
        drafts = [sourced for sourced, there in zip(self.drafts, good, strict=True) if there]
        beyond = self.quota.beyond(uow, self.gallery, [sourced.draft.external_id for sourced in drafts])
        kept = [sourced.draft for sourced in drafts if sourced.draft.external_id not in beyond]
        written = uow.images.upsert(self.gallery, kept, job_id=rank(self.job))
        names = [sourced.draft.external_id for sourced in self.drafts]
        rows = [row for row, name in enumerate(names) if name in written]
        ids = [written[names[row]].image_id for row in rows]
        for index in live if rows else ():
            vectors = self.vectors.get(index.id)
            store(uow, index, ids, None if vectors is None else vectors[rows])
        through = [
            ItemOutcome(draft.external_id, written[draft.external_id].outcome)
            if draft.external_id in written
            else superseded(draft.external_id)
            for draft in kept
        ]
        refused = [self.quota.exceeded(_planned(one)) for one in drafts if one.draft.external_id in beyond]
        return [*through, *refused, *(self._unembedded(row) for row in np.flatnonzero(~good).tolist())]

    def _unembedded(self, row: int) -> ItemOutcome:
        error = self.errors.get(row)
        if error is not None:
            return _failed(self.drafts[row], error.item_code, error.detail)
        detail = "The encoder gave no finite vector for this picture; report it to the operator."
        return _failed(self.drafts[row], "embedding_failed", detail)

    def _active_vectors(self, live: Sequence[Index]) -> Vectors:
        """Of the generation that answers now: since they were computed, another may have become the active one."""
        active = next((index for index in live if index.state is IndexState.ACTIVE), None)
        if active is None:
            raise NotFoundError(f"The gallery `{self.gallery.name}` was deleted meanwhile.")
        if active.id not in self.vectors:
            raise UnavailableError("Another index became the active one meanwhile; the batch is embedded again.")
        return self.vectors[active.id]

    def rings(self) -> Sequence[Queue]:
        """Nothing follows."""
        return ()


def store(uow: UnitOfWork, index: Index, image_ids: Sequence[UUID], vectors: Vectors | None) -> None:
    """Write the images' vectors [n, d] of a generation; owe it those that are missing (None) or not finite.

    The caller holds the generations, and the images' rows.
    """
    there = [False] * len(image_ids) if vectors is None else usable(vectors).tolist()
    written = [image_id for image_id, found in zip(image_ids, there, strict=True) if found]
    owed = [image_id for image_id, found in zip(image_ids, there, strict=True) if not found]
    if written and vectors is not None:
        uow.vectors.upsert(index.id, written, vectors[there])
        if index.state is not IndexState.ACTIVE:  # an active one is owed nothing
            uow.pending.remove(index.id, written)
    if owed:
        uow.vectors.remove(index.id, owed)
        uow.pending.add(index.id, owed)
