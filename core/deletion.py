"""Deleting images with their vectors, and whole galleries with their rows and running jobs."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from core import jobs
from core.context import Context
from core.models import ClaimedUnit, ItemOutcome, Job, Outcome, Queue
from core.ports import UnitOfWork


def remove_vectors(uow: UnitOfWork, gallery_id: UUID, image_ids: Sequence[UUID]) -> None:
    """Delete the vectors of images from every generation that is not dropped, in the transaction of their rows.

    The caller has called `Indexes.hold` before it touched the rows.
    """
    if image_ids:
        for index in uow.indexes.live(gallery_id):
            uow.vectors.remove(index.id, image_ids)
            uow.pending.remove(index.id, image_ids)


@dataclass(frozen=True, slots=True)
class DeleteGalleryHandler:
    """Runs `delete_gallery` units."""

    ctx: Context

    def open(self, unit: ClaimedUnit, job: Job) -> "_Deletion":
        """Nothing to load."""
        return _Deletion(job, UUID(unit.payload["gallery_id"]))


@dataclass(frozen=True, slots=True)
class _Deletion:
    job: Job
    gallery_id: UUID
    batch_items: int = 1

    def compute(self, start: int, stop: int) -> "_Deletion":
        """Everything happens in the transaction."""
        del start, stop
        return self

    def poison(self, item: int) -> ItemOutcome | None:  # noqa: ARG002 - the port's signature
        """There is no part of it to pass over."""
        return None

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Cancel the gallery's other jobs, drop its vector tables, then its rows."""
        for job_id in uow.jobs.active_ids(self.gallery_id):
            if job_id != self.job.id:
                jobs.cancel_locked(uow, job_id)
        removed = uow.images.count(self.gallery_id)
        for index in uow.indexes.every(self.gallery_id):
            uow.vectors.drop(index.id)
        uow.galleries.remove(self.gallery_id)
        self._count(uow, removed)
        return ()

    def _count(self, uow: UnitOfWork, removed: int) -> None:
        """Since the total was set, imports may have added images, and mirrors or clients deleted some."""
        job = uow.jobs.lock(self.job.id)
        if job is not None:
            if removed > job.counters.pending:
                uow.jobs.grow_total(job.id, by=removed - job.counters.pending)
            uow.jobs.count(job.id, {Outcome.DELETED: max(removed, job.counters.pending)})

    def rings(self) -> Sequence[Queue]:
        """Nothing follows."""
        return ()
