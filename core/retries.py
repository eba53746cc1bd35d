"""Importing again what failed: a new job over the failed items of an import, from the files as they were sent."""

from datetime import timedelta
from uuid import UUID

from core import imports, jobs
from core.context import Context
from core.errors import ConflictError
from core.models import Job, JobKind, JobStage, Principal, Queue
from core.ports import UnitOfWork


def retry(ctx: Context, principal: Principal, job_id: UUID, *, callback_url: str | None = None) -> Job:
    """Queue a retry; while one is open, that one is returned.

    ConflictError while the job itself runs, when no item failed that could go through now, when a newer mirror import
    has decided what the gallery holds, and when the open retry calls back elsewhere than asked. NotFoundError when job
    or gallery are gone.
    """
    jobs.check_callback(callback_url)
    with ctx.uow() as uow:
        job = jobs.find(uow, principal, job_id)
        uow.jobs.lock(job_id)  # of two retries at once the second finds the first
        _check(uow, job)
        open_retry = uow.jobs.open_retry_of(job_id)
        if open_retry is not None:
            return _joined(jobs.find(uow, principal, open_retry), callback_url)
        again = _queue(ctx, uow, principal, job, callback_url)
        uow.commit()
    ctx.doorbell.ring(Queue.INGEST)
    return again


def _check(uow: UnitOfWork, job: Job) -> None:
    if job.kind is not JobKind.IMPORT:
        raise ConflictError(f"Only imports are retried: send the {job.kind} again instead.")
    if job.state not in jobs.TERMINAL:
        raise ConflictError("The job still runs; retry what failed when it has ended, or cancel it first.")
    if not uow.items.any_retryable(job.id):
        raise ConflictError(
            "No item of this job failed for a reason that a retry could change; see its items, correct the files, and"
            " import them again."
        )
    if job.gallery_id is not None and uow.jobs.has_mirror_after(job.gallery_id, jobs.rank(job)):
        raise ConflictError(
            "A newer mirror import decides which images the gallery holds: retry what failed in that one instead."
        )


def _joined(open_retry: Job, callback_url: str | None) -> Job:
    if callback_url not in {None, open_retry.callback_url}:
        raise ConflictError(
            f"A retry of this job is open already, as job {open_retry.id}, and it does not call back to this URL:"
            " poll it, or ask again without `callback_url`."
        )
    return open_retry


def _queue(ctx: Context, uow: UnitOfWork, principal: Principal, job: Job, callback_url: str | None) -> Job:
    gallery = None if job.gallery_id is None else uow.galleries.by_id(job.gallery_id)
    if gallery is None or gallery.deleting:
        raise ConflictError(f"The gallery `{job.gallery_name}` is gone; there is nothing to import into.")
    first = jobs.rank(job)
    params = {"mode": imports.UPSERT, "files": [], "retry_of": str(job.id), "rank": str(first)}
    spec = jobs.JobSpec(
        kind=JobKind.IMPORT, stage=JobStage.PLANNING, gallery=gallery, params=params, callback_url=callback_url
    )
    again = jobs.new_job(ctx, principal, spec)
    uow.jobs.add(again)
    uow.units.add([imports.plan_unit(again)])
    # The uploads are those of the first import, and go with it: a retry of the retry needs them too.
    kept = timedelta(days=2 * ctx.settings.job_retention_days)
    uow.jobs.keep_until(first, again.created_at + kept)
    uow.jobs.keep_until(job.id, again.created_at + kept)
    uow.uploads.keep_with(first)
    return again
