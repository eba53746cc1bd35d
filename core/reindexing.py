"""Filling a new generation while the old one answers. See docs/adr/0021.

`reindex` units look at what the generation is owed, in rounds, and cut it into a few lanes. A lane is a chain of
`reembed` units over a range of image ids, each of which adds its successor: so a re-index never has more units waiting
than workers, and imports take turns with it instead of queueing up behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import Any
from uuid import UUID

import numpy as np

from core.context import Context
from core.embedder import Embedder, usable
from core.embedding import embed_queue, store
from core.errors import IndexCheckError, NotFoundError, UnavailableError
from core.generations import claim_identity, find_gallery, round_unit
from core.ids import new_id
from core.items import failed
from core.lease import still_moving
from core.models import (
    DEFERRED,
    ClaimedUnit,
    Gallery,
    Image,
    Index,
    IndexState,
    ItemOutcome,
    Job,
    NewUnit,
    Outcome,
    Queue,
    UnitKind,
    Vectors,
)
from core.ports import Encoder, EncoderRegistry, UnitOfWork

BATCHES_A_UNIT = 2
PLANNED_AT_ONCE = 5000


def find_index(uow: UnitOfWork, job: Job) -> Index:
    """The generation that a re-index works on. NotFoundError when it was retired meanwhile."""
    index = uow.indexes.get(UUID(job.params["index_id"]))
    if index is None or index.state is IndexState.DROPPED:
        raise NotFoundError("The index was retired while it was built.")
    return index


@dataclass(frozen=True, slots=True)
class ReindexHandler:
    """Runs `reindex` units: one a round."""

    ctx: Context

    def open(self, unit: ClaimedUnit, job: Job) -> "_Round":
        """Find the generation. NotFoundError when it, or its gallery, is gone."""
        with self.ctx.uow() as uow:
            return _Round(self.ctx, job, find_gallery(uow, job), find_index(uow, job), unit.payload["round"])


@dataclass(frozen=True, slots=True)
class _Round:
    """Round 0 plans. Round 1 begins when all of that is done, and brings the generation into step with imports.

    Later rounds make up for what happened meanwhile, until nothing is owed.
    """

    ctx: Context
    job: Job
    gallery: Gallery
    index: Index
    number: int
    batch_items: int = 1

    def compute(self, start: int, stop: int) -> "_Planned":
        """In round 0, owe the generation what it lacks. After that, wait for its search structure to be built.

        UnavailableError while that goes on: then the unit comes back in a moment.
        """
        del start, stop
        if self.number == 0:
            self._owe_missing()
            return _Planned(self)
        with self.ctx.uow() as uow:
            behind = uow.pending.count(self.index.id, besides=self.job.id)
            built = uow.vectors.built(self.index.id)
        if self.index.in_step and not behind and built < 1:
            raise UnavailableError(f"The index is being built ({built:.0%}).")
        return _Planned(self)

    def _owe_missing(self) -> None:
        """In short transactions: harmless when repeated, and an image that was written meanwhile is only redone."""
        missing: Sequence[UUID] = (UUID(int=0),)
        while missing:
            with self.ctx.uow() as uow:
                missing = uow.vectors.missing(self.index.id, after=missing[-1], limit=PLANNED_AT_ONCE)
                uow.pending.add(self.index.id, missing)
                uow.commit()
            still_moving()

    def poison(self, item: int) -> ItemOutcome | None:  # noqa: ARG002 - the port's signature
        """Without it the generation is never finished."""
        return None


@dataclass(frozen=True, slots=True)
class _Planned:
    round: _Round

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Units of what is owed, and of what comes after. IndexCheckError when only what failed is left."""
        this, index_id = self.round, self.round.index.id
        owed = uow.pending.count(index_id, besides=this.job.id)
        if this.number == 0:
            uow.jobs.set_total(this.job.id, owed)
        elif not this.index.in_step:
            uow.indexes.set_in_step(index_id)
        elif not owed:
            self._check_complete(uow)
            uow.units.add([_verify_unit(this.job, this.gallery)])
            return ()
        uow.units.add([*self._lanes(uow, owed), _deferred(round_unit(this.job, this.number + 1))])
        return ()

    def _check_complete(self, uow: UnitOfWork) -> None:
        left = uow.pending.count(self.round.index.id)
        if left:
            raise IndexCheckError(
                f"{left} images could not be embedded, so the index would not find them; the job's items name the"
                " reasons. Correct or delete them, and re-index with the same encoder: what is done is kept."
            )

    def _lanes(self, uow: UnitOfWork, owed: int) -> list[NewUnit]:
        this = self.round
        queue = embed_queue(this.gallery)
        alive = uow.workers.consumers(alive_within=timedelta(seconds=this.ctx.settings.worker_dead_after_s))
        workers = alive[queue].count if queue in alive else 0
        lanes = max(workers, 1) * this.ctx.settings.embed_units
        ends = uow.pending.cut(this.index.id, every=max(1, ceil(owed / lanes)), besides=this.job.id)
        return [
            unit
            for after, until in zip((None, *ends), ends, strict=False)
            for unit in _next_unit(this.ctx, uow, this.job, this.gallery, Span(after, until))
        ]

    def rings(self) -> Sequence[Queue]:
        """Whoever embeds."""
        return (embed_queue(self.round.gallery),)


def _deferred(unit: NewUnit) -> NewUnit:
    return NewUnit(
        unit.id, unit.tenant_id, unit.job_id, unit.kind, unit.queue, unit.size, unit.payload, not_before=DEFERRED
    )


def _verify_unit(job: Job, gallery: Gallery) -> NewUnit:
    """The unit that checks the generation and lets it answer; it needs the encoder."""
    return NewUnit(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=UnitKind.VERIFY,
        queue=embed_queue(gallery),
        size=1,
        payload={},
    )


@dataclass(frozen=True, slots=True)
class Span:
    """Images with ids beyond `after` (None: from the first) up to `until`."""

    after: UUID | None
    until: UUID


def _next_unit(ctx: Context, uow: UnitOfWork, job: Job, gallery: Gallery, span: Span) -> list[NewUnit]:
    """The unit of the first images of the span that are owed; none when nothing is."""
    size = BATCHES_A_UNIT * ctx.settings.embed_batch
    index_id = UUID(job.params["index_id"])
    ids = uow.pending.page(index_id, after=span.after, until=span.until, limit=size, besides=job.id)
    if not ids:
        return []
    payload: dict[str, Any] = {"image_ids": [str(image_id) for image_id in ids], "until": str(span.until)}
    unit = NewUnit(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=UnitKind.REEMBED,
        queue=embed_queue(gallery),
        size=len(ids),
        payload=payload,
    )
    return [unit]


class ReembedHandler:
    """Runs `reembed` units: images that are there already, by the generation's encoder."""

    def __init__(self, ctx: Context, encoders: EncoderRegistry, embedder: Embedder) -> None:
        self.ctx = ctx
        self.encoders = encoders
        self.embedder = embedder

    def open(self, unit: ClaimedUnit, job: Job) -> "_Reembedding":
        """Load the encoder. EncoderMismatchError when the generation was begun with other weights."""
        with self.ctx.uow() as uow:
            gallery, index = find_gallery(uow, job), find_index(uow, job)
        encoder = self.encoders.get(index.encoder)
        claim_identity(self.ctx, index, encoder)
        ids = [UUID(image_id) for image_id in unit.payload["image_ids"]]
        return _Reembedding(self, job, gallery, encoder, ids, UUID(unit.payload["until"]))


@dataclass(frozen=True, slots=True)
class _Reembedding:
    handler: ReembedHandler
    job: Job
    gallery: Gallery
    encoder: Encoder
    ids: Sequence[UUID]
    until: UUID

    @property
    def batch_items(self) -> int:
        """Images a transaction."""
        return self.handler.ctx.settings.embed_batch

    def compute(self, start: int, stop: int) -> "_ReembeddedBatch":
        """Fetch, decode and embed images [start, stop) as they are now."""
        ids = self.ids[start:stop]
        with self.handler.ctx.uow() as uow:
            found = uow.images.many(ids)
        images = [found[image_id] for image_id in ids if image_id in found]
        sha256s = [image.blob.sha256 for image in images]
        embedded = self.handler.embedder.embed(self.job.tenant_id, sha256s, [self.encoder])
        good = usable(embedded.vectors[0])
        unread = "The encoder gave no finite vector for this picture; report it to the operator."
        outcomes = [
            failed(image.external_id, "", error.item_code, error.detail)
            if (error := embedded.errors.get(row)) is not None
            else failed(image.external_id, "", "embedding_failed", unread)
            for row, image in enumerate(images)
            if not good[row]
        ]
        last = ids[-1] if stop == len(self.ids) else None
        return _ReembeddedBatch(self, ids, images, embedded.vectors[0], outcomes, last)

    def poison(self, item: int) -> ItemOutcome | None:
        """The image that keeps killing workers; nothing to report where it was deleted meanwhile."""
        detail = "Embedding this picture ended the worker process repeatedly; it is passed over."
        with self.handler.ctx.uow() as uow:
            image = uow.images.get(self.gallery.id, self.ids[item])
        return failed(image.external_id if image else "", "", "poison", detail)


@dataclass(frozen=True, slots=True)
class _ReembeddedBatch:
    """`vectors` has a row for each of `images`; `last` is the unit's last image id when this is its last batch."""

    run: _Reembedding
    ids: Sequence[UUID]
    images: Sequence[Image]
    vectors: Vectors
    failed: Sequence[ItemOutcome]
    last: UUID | None

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Vectors of the images whose picture is still the same, and the unit that goes on from here.

        What changed meanwhile is still owed, and its turn comes again.
        """
        run = self.run
        uow.indexes.hold(run.gallery.id)
        index = find_index(uow, run.job)
        now = uow.images.lock_contents(run.gallery.id, self.ids)
        same = [
            row
            for row, there in enumerate(usable(self.vectors).tolist())
            if there and now.get(self.images[row].id) == self.images[row].blob.sha256
        ]
        if same:
            store(uow, index, [self.images[row].id for row in same], self.vectors[np.array(same)])
        gone = [image_id for image_id in self.ids if image_id not in now]
        uow.pending.remove(index.id, [*(self.images[row].id for row in same), *gone])
        outcomes = [
            *(ItemOutcome(self.images[row].external_id, Outcome.CREATED) for row in same),
            *(ItemOutcome("", Outcome.DELETED) for _ in gone),
            *self.failed,
        ]
        self._make_room(uow, len(outcomes))
        uow.units.add(self._successor(uow))
        return outcomes

    def _make_room(self, uow: UnitOfWork, count: int) -> None:
        """Images that arrived or changed since the plan was made are items too."""
        job = uow.jobs.lock(self.run.job.id)
        if job is not None and job.counters.pending < count:
            uow.jobs.grow_total(job.id, by=count - job.counters.pending)

    def _successor(self, uow: UnitOfWork) -> list[NewUnit]:
        if self.last is None:
            return []
        run = self.run
        return _next_unit(run.handler.ctx, uow, run.job, run.gallery, Span(self.last, run.until))

    def rings(self) -> Sequence[Queue]:
        """The worker rings by itself when more is due."""
        return ()
