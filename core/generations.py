"""Generations of vectors: a new one beside the old, the switch between them, and their end. See docs/adr/0021.

core/reindexing.py fills a new generation, core/verification.py checks it before it answers.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog

from core import galleries, jobs
from core.context import Context
from core.errors import ConflictError, EncoderMismatchError, NotFoundError
from core.ids import new_id
from core.models import (
    Gallery,
    Index,
    IndexState,
    Job,
    JobKind,
    JobStage,
    NewUnit,
    Principal,
    Queue,
    UnitKind,
)
from core.ports import Encoder, UnitOfWork

log = structlog.get_logger()

TRANSITIONS: dict[IndexState, frozenset[IndexState]] = {
    IndexState.BUILDING: frozenset({IndexState.READY, IndexState.DROPPED}),
    IndexState.READY: frozenset({IndexState.ACTIVE, IndexState.DROPPED}),
    IndexState.ACTIVE: frozenset({IndexState.STANDBY}),
    IndexState.STANDBY: frozenset({IndexState.ACTIVE, IndexState.DROPPED}),
    IndexState.DROPPED: frozenset(),
}
SWEEP = 100
_WAITING = frozenset({IndexState.BUILDING, IndexState.READY})
MAX_WAITING = 3
"""Generations of a gallery that are half made, or finished and not yet activated, at most."""


class Activation(StrEnum):
    """When a new generation begins to answer."""

    WHEN_READY = "when_ready"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class NewIndex:
    """What a client asks for. `encoder` None is the gallery's present one, with the weights that it has now."""

    gallery: str
    encoder: str | None = None
    activate: Activation = Activation.WHEN_READY
    callback_url: str | None = None


def submit(ctx: Context, principal: Principal, new: NewIndex) -> Job:
    """Queue a re-index. InvalidInputError for an unlisted encoder.

    ConflictError while one of the gallery runs, or when MAX_WAITING generations wait to be activated.
    """
    with ctx.uow() as uow:
        job, unit = prepare(ctx, uow, principal, new)
        uow.jobs.add(job)
        uow.units.add([unit])
        uow.commit()
    ctx.doorbell.ring(unit.queue)
    return job


def prepare(ctx: Context, uow: UnitOfWork, principal: Principal, new: NewIndex) -> tuple[Job, NewUnit]:
    """Inside a transaction: add the generation; the job and its first unit are for the caller to store, and to ring.

    What `submit` does for a client, and a schedule for its tick. A half-made generation of the same encoder, whose job
    failed or was cancelled, is continued rather than begun anew. Errors as in `submit`.
    """
    jobs.check_callback(new.callback_url)
    gallery = galleries.find(uow, principal, new.gallery)
    encoder = galleries.listed_encoder(ctx, new.encoder or gallery.encoder)
    # Alone: whoever writes an image from now on sees the new generation, and owes it the vector.
    uow.indexes.hold(gallery.id, alone=True)
    running = uow.jobs.open_reindex(gallery.id)
    if running is not None:
        raise ConflictError(f"Gallery `{gallery.name}` is being re-indexed by job {running.id}; wait, or cancel it.")
    halves = (index for index in uow.indexes.live(gallery.id) if index.state is IndexState.BUILDING)
    index = next((index for index in halves if index.encoder == encoder), None)
    if index is None:
        index = Index(new_id(), gallery.tenant_id, gallery.id, encoder, IndexState.BUILDING)
        _check_room(uow, gallery)
        uow.indexes.add(index)
    else:
        uow.indexes.touch(index.id)
    return _job(ctx, principal, gallery, index, new)


def _check_room(uow: UnitOfWork, gallery: Gallery) -> None:
    """Every import writes to all of a gallery's generations, so those that nobody activates must not pile up."""
    waiting = [index for index in uow.indexes.live(gallery.id) if index.state in _WAITING]
    if len(waiting) >= MAX_WAITING:
        raise ConflictError(
            f"Gallery `{gallery.name}` has {len(waiting)} indexes that were never activated; activate or delete one"
            " (GET its indexes for their ids), then re-index."
        )


def _job(ctx: Context, principal: Principal, gallery: Gallery, index: Index, new: NewIndex) -> tuple[Job, NewUnit]:
    spec = jobs.JobSpec(
        kind=JobKind.REINDEX,
        stage=JobStage.PLANNING,
        gallery=gallery,
        params={"index_id": str(index.id), "encoder": index.encoder, "activate": new.activate.value},
        callback_url=new.callback_url,
    )
    job = jobs.new_job(ctx, principal, spec)
    return job, round_unit(job, 0)


def round_unit(job: Job, number: int) -> NewUnit:
    """The unit that looks at what the generation is owed, and sees to it: `number` 0 plans, later ones finish."""
    return NewUnit(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=UnitKind.REINDEX,
        queue=Queue.MAINTENANCE,
        size=1,
        payload={"round": number},
    )


def list_live(ctx: Context, principal: Principal, gallery_name: str) -> tuple["IndexView", ...]:
    """The gallery's generations that are not dropped, oldest first."""
    with ctx.uow() as uow:
        gallery = galleries.find(uow, principal, gallery_name)
        return tuple(_view(uow, index) for index in uow.indexes.live(gallery.id))


def get(ctx: Context, principal: Principal, gallery_name: str, index_id: UUID) -> "IndexView":
    """One generation, also a dropped one. NotFoundError when the gallery has none of that id."""
    with ctx.uow() as uow:
        return _view(uow, _find(uow, galleries.find(uow, principal, gallery_name), index_id))


@dataclass(frozen=True, slots=True)
class IndexView:
    """A generation, how many vectors it is owed, and the share of its search structure that is built (1: all of it)."""

    index: Index
    pending: int
    built: float


def _view(uow: UnitOfWork, index: Index) -> IndexView:
    return IndexView(index, uow.pending.count(index.id), uow.vectors.built(index.id))


def _find(uow: UnitOfWork, gallery: Gallery, index_id: UUID) -> Index:
    index = uow.indexes.get(index_id)
    if index is None or index.gallery_id != gallery.id:
        raise NotFoundError(f"Gallery `{gallery.name}` has no index {index_id}; GET its indexes for their ids.")
    return index


def activate(ctx: Context, principal: Principal, gallery_name: str, index_id: UUID) -> IndexView:
    """Let a finished generation answer from now on; the present one stands by. Also the way back.

    ConflictError when it is not finished, or owed a vector (then it would miss images), or its encoder is listed no
    more (then no query could be embedded).
    """
    with ctx.uow() as uow:
        gallery_id = galleries.find(uow, principal, gallery_name).id
        uow.indexes.hold(gallery_id, alone=True)
        gallery = galleries.find(uow, principal, gallery_name, lock=True)
        index = _find(uow, gallery, index_id)
        if index.state is not IndexState.ACTIVE:
            _check_encoder(ctx, index)
            _check_complete(uow, index)
            switch(uow, gallery, index)
            uow.commit()
        return _view(uow, _find(uow, gallery, index_id))


def _check_encoder(ctx: Context, index: Index) -> None:
    if index.encoder not in ctx.settings.encoders:
        raise ConflictError(
            f"Index {index.id} was made with encoder `{index.encoder}`, which is not among SETR_ENCODERS any more, so"
            " no query could be embedded. List it again, or re-index."
        )


def _check_complete(uow: UnitOfWork, index: Index) -> None:
    check_transition(index.state, IndexState.ACTIVE)
    pending = uow.pending.count(index.id)
    if pending:
        raise ConflictError(
            f"Index {index.id} still lacks the vectors of {pending} images, and would not find them. Upkeep makes"
            " up for that; try again later."
        )


def switch(uow: UnitOfWork, gallery: Gallery, index: Index) -> None:
    """Make a complete generation the one that answers. The caller holds the gallery's generations alone.

    ConflictError when it is in no state to.
    """
    check_transition(index.state, IndexState.ACTIVE)
    for other in uow.indexes.live(gallery.id):
        if other.state is IndexState.ACTIVE:
            uow.indexes.set_state(other.id, IndexState.STANDBY)
    uow.indexes.set_state(index.id, IndexState.ACTIVE)
    uow.galleries.set_active(gallery.id, index)


def check_transition(before: IndexState, after: IndexState) -> None:
    """ConflictError unless a generation may go from `before` to `after`."""
    if after not in TRANSITIONS[before]:
        raise ConflictError(f"An index that is {before} cannot become {after}.")


def retire(ctx: Context, principal: Principal, gallery_name: str, index_id: UUID) -> None:
    """Drop a generation, and end the re-index that works on it. ConflictError when it is the active one.

    It gets no vectors any more at once; its table goes in upkeep, when no query reads it.
    """
    with ctx.uow() as uow:
        gallery = galleries.find(uow, principal, gallery_name)
        _find(uow, gallery, index_id)
        running = uow.jobs.open_reindex(gallery.id)
        if running is not None and running.params["index_id"] == str(index_id):
            jobs.cancel_locked(uow, running.id)  # before the hold, as workers lock their job first
        uow.indexes.hold(gallery.id, alone=True)
        index = _find(uow, gallery, index_id)
        if index.state is IndexState.ACTIVE:
            raise ConflictError("This index answers the gallery's queries; activate another one first.")
        drop(uow, index)
        uow.commit()


def drop(uow: UnitOfWork, index: Index) -> None:
    """Give it no vectors any more; upkeep removes its table. The caller holds the gallery's generations alone."""
    if index.state is not IndexState.DROPPED:
        check_transition(index.state, IndexState.DROPPED)
        uow.indexes.set_state(index.id, IndexState.DROPPED)
        uow.pending.clear(index.id)


def find_gallery(uow: UnitOfWork, job: Job) -> Gallery:
    """The job's gallery. NotFoundError when it was deleted meanwhile."""
    gallery = uow.galleries.by_id(job.gallery_id) if job.gallery_id else None
    if gallery is None or gallery.deleting:
        raise NotFoundError(f"The gallery `{job.gallery_name}` was deleted meanwhile.")
    return gallery


def active(uow: UnitOfWork, job: Job) -> tuple[Gallery, Index]:
    """The job's gallery and the generation that answers. NotFoundError when the gallery was deleted meanwhile."""
    gallery = find_gallery(uow, job)
    index = uow.indexes.get(gallery.active_index_id) if gallery.active_index_id else None
    if index is None:
        raise NotFoundError(f"The gallery `{job.gallery_name}` was deleted meanwhile.")
    return gallery, index


def check_identity(index: Index, encoder: Encoder) -> None:
    """EncoderMismatchError when the generation's vectors were made by another encoder than this one."""
    if index.identity is not None and index.identity != encoder.identity:
        raise EncoderMismatchError(
            f"This gallery was indexed with other weights of encoder `{index.encoder}` than this worker loads;"
            " re-index the gallery, or give the worker the old weights."
        )


def claim_identity(ctx: Context, index: Index, encoder: Encoder) -> None:
    """The first worker that loads the encoder fixes the generation's identity and makes its table.

    EncoderMismatchError when that was another encoder.
    """
    if index.identity == encoder.identity:
        return
    with ctx.uow() as uow:
        identity = uow.indexes.set_identity(index.id, encoder.identity)
        check_identity(replace(index, identity=identity), encoder)
        uow.vectors.ensure(index.id, encoder.identity.dim)
        uow.commit()


def drop_outlived(ctx: Context, stopping: Callable[[], bool]) -> int:
    """Drop generations that stood by for their time, and half-made ones that nobody continued.

    Then the tables of dropped ones that no query reads any more. Returns how many tables went.
    """
    before = ctx.clock.now() - timedelta(hours=ctx.settings.standby_hours)
    with ctx.uow() as uow:
        outlived = uow.indexes.outlived(before=before, limit=SWEEP)
    for index in outlived:
        with ctx.uow() as uow:
            uow.indexes.hold(index.gallery_id, alone=True)
            now = uow.indexes.get(index.id)
            if now is not None and now.changed_at == index.changed_at:
                drop(uow, now)
                log.info("index.dropped", index_id=str(index.id), was=index.state)
            uow.commit()
    with ctx.uow() as uow:
        unread = uow.indexes.unread(limit=SWEEP)
    return sum(_clear(ctx, index_id) for index_id in unread if not stopping())


def _clear(ctx: Context, index_id: UUID) -> bool:
    with ctx.uow() as uow:
        uow.vectors.drop(index_id)
        uow.concepts.clear(index_id)
        uow.commit()
    return True


def catch_up(ctx: Context, stopping: Callable[[], bool]) -> int:
    """Queue a re-index for every finished generation that is owed vectors, unless one runs. Returns how many.

    Imports owe to a finished generation only while its encoder cannot be used, so there is no hurry.
    """
    with ctx.uow() as uow:
        behind = uow.pending.behind(limit=SWEEP)
    return sum(_continue(ctx, index) for index in behind if not stopping())


def _continue(ctx: Context, index: Index) -> bool:
    with ctx.uow() as uow:
        uow.indexes.hold(index.gallery_id, alone=True)
        gallery, now = uow.galleries.by_id(index.gallery_id), uow.indexes.get(index.id)
        if gallery is None or gallery.deleting or now is None or now.state is IndexState.DROPPED:
            return False
        if uow.jobs.open_reindex(gallery.id) is not None:
            return False
        job, unit = _job(
            ctx, Principal.nobody(index.tenant_id), gallery, index, NewIndex(gallery.name, activate=Activation.MANUAL)
        )
        uow.jobs.add(job)
        uow.units.add([unit])
        uow.commit()
    ctx.doorbell.ring(unit.queue)
    return True


def result(index: Index, *, self_check: dict[str, Any]) -> dict[str, Any]:
    """What the job of a re-index came to."""
    return {"index_id": str(index.id), "state": index.state.value, "self_check": self_check}
