"""Upkeep: expired jobs, old keys, and pictures that nobody refers to any more. See docs/adr/0018.

Every step works in short transactions, may be killed at any point, and may run twice at once.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import islice, product
from uuid import UUID

import structlog

from core import jobs
from core.context import Context
from core.errors import UnavailableError
from core.galleries import resume_deletions
from core.generations import catch_up, drop_outlived
from core.ids import made_at
from core.keys import (
    blob_key,
    export_prefix,
    job_of_upload,
    job_prefix,
    sha256_of_key,
    thumbnail_key,
    thumbnail_shelf,
    uploads_prefix,
)
from core.models import Job
from core.ports import BlobRef, UnitOfWork

log = structlog.get_logger()

GRACE = timedelta(hours=24)
"""How long a picture that nobody refers to, an idempotency key, and an upload without a job are kept."""

SWEEP = 100
BLOBS = 500
ROWS = 5000
_FIRST = BlobRef(UUID(int=0), "")

Stopping = Callable[[], bool]


def run(ctx: Context, *, stopping: Stopping = lambda: False) -> None:
    """One round. A step that a dependency keeps from its work is put off to the next round; the others go on."""
    for step in STEPS:
        name = step.__name__.strip("_")
        try:
            done = step(ctx, stopping)
        except UnavailableError as error:
            log.warning("upkeep.put_off", step=name, reason=error.detail)
        else:
            log.info("upkeep.done", step=name, count=done)


def _end_unanswered(ctx: Context, stopping: Stopping) -> int:
    """Fail queries that outlived their retention without an answer, and delete their pictures. Returns how many."""
    return _job_by_job(ctx, stopping, lambda uow: uow.jobs.unanswered(ctx.clock.now(), limit=SWEEP), _give_up)


def _job_by_job(
    ctx: Context,
    stopping: Stopping,
    find: Callable[[UnitOfWork], Sequence[Job]],
    end: Callable[[Context, Job], None],
) -> int:
    """End jobs that `find` finds, `SWEEP` at most at a time, until it finds fewer. Returns how many."""
    count = 0
    while not stopping():
        with ctx.uow() as uow:
            found = find(uow)
        for job in found:
            end(ctx, job)
        count += len(found)
        if len(found) < SWEEP:
            break
    return count


def _give_up(ctx: Context, query: Job) -> None:
    hours = ctx.settings.query_retention_hours
    detail = f"No worker answered this query within {hours} hours, and its picture was deleted; send it again."
    ctx.objects.delete(ctx.objects.keys(job_prefix(query.tenant_id, query.id)))
    with ctx.uow() as uow:
        job = uow.jobs.lock(query.id)
        if job is not None and job.state not in jobs.TERMINAL:
            jobs.fail(uow, job, code="unanswered", detail=detail)
        uow.commit()


def expire_jobs(ctx: Context, stopping: Stopping) -> int:
    """Delete finished jobs past their retention with all that is theirs. Returns how many.

    Objects go first: as long as the row is there, somebody knows what is still to be deleted.
    """
    return _job_by_job(ctx, stopping, lambda uow: uow.jobs.expired(ctx.clock.now(), limit=SWEEP), _forget)


def _forget(ctx: Context, job: Job) -> None:
    for prefix in (job_prefix(job.tenant_id, job.id), export_prefix(job.tenant_id, job.id)):
        ctx.objects.delete(ctx.objects.keys(prefix))
    more = True
    while more:
        with ctx.uow() as uow:
            more = uow.jobs.strip(job.id, limit=ROWS) == ROWS
            uow.commit()
    with ctx.uow() as uow:
        uow.jobs.remove([job.id])
        uow.commit()


def _expire_keys(ctx: Context, stopping: Stopping) -> int:
    """Delete old idempotency keys. Returns how many."""
    count, deleted = 0, ROWS
    while deleted == ROWS and not stopping():
        with ctx.uow() as uow:
            deleted = uow.idempotency.expire(before=ctx.clock.now() - GRACE, limit=ROWS)
            uow.commit()
        count += deleted
    return count


def _expire_uploads(ctx: Context, stopping: Stopping) -> int:
    """Delete announced uploads that no import took in time, or whose imports expired. Returns how many."""
    count = 0
    while not stopping():
        with ctx.uow() as uow:
            expired = uow.uploads.expired(ctx.clock.now(), limit=BLOBS)
            ctx.objects.delete(upload.key for upload in expired)
            uow.uploads.remove([upload.id for upload in expired])
            uow.commit()
        count += len(expired)
        if len(expired) < BLOBS:
            break
    return count


def _forget_versions(ctx: Context, stopping: Stopping) -> int:
    """Forget what was seen at the addresses of images that are gone. Returns how many."""
    count, deleted = 0, ROWS
    while deleted == ROWS and not stopping():
        with ctx.uow() as uow:
            deleted = uow.remote_versions.forget_orphans(before=ctx.clock.now() - GRACE, limit=ROWS)
            uow.commit()
        count += deleted
    return count


def condemn_blobs(ctx: Context, stopping: Stopping) -> int:
    """Walk over all pictures and condemn those that nobody refers to. Returns the number of pages walked."""
    pages = 0
    last: BlobRef | None = _FIRST
    while last is not None and not stopping():
        with ctx.uow() as uow:
            last = uow.blobs.condemn(before=ctx.clock.now() - GRACE, after=last, limit=ROWS)
            uow.commit()
        pages += last is not None
    return pages


def collect_blobs(ctx: Context, stopping: Stopping) -> int:
    """Delete condemned pictures, object first and row after it. Returns how many.

    The rows stay locked meanwhile, so that an import that wants one of them waits, then finds none, and stores it anew.
    After a crash in between the row is still condemned, which every import reads as absent.
    """
    count = 0
    while not stopping():
        with ctx.uow() as uow:
            refs = uow.blobs.lock_condemned(before=ctx.clock.now() - GRACE, limit=BLOBS)
            ctx.objects.delete(key for ref in refs for key in _keys(ref))
            uow.blobs.remove(refs)
            uow.commit()
        count += len(refs)
        if len(refs) < BLOBS:
            break
    return count


def _keys(ref: BlobRef) -> tuple[str, str]:
    return blob_key(ref.tenant_id, ref.sha256), thumbnail_key(ref.tenant_id, ref.sha256)


def adopt_orphans(ctx: Context, stopping: Stopping) -> int:
    """Give pictures without a row, left by a crash between the two, a condemned one. Returns how many.

    From there they go the way of all condemned pictures, which an import that is storing one right now can still stop.
    A round looks at a twenty-fourth of the bucket, by the hour; thumbnails are stored first, so none is overlooked.
    """
    hour = int(ctx.clock.now().timestamp() // 3600)
    shelves = [f"{shelf:02x}" for shelf in range(256) if shelf % 24 == hour % 24]
    with ctx.uow() as uow:
        tenants = uow.api_keys.tenants()
    count = 0
    for tenant_id, shelf in product(tenants, shelves):
        keys = iter(ctx.objects.keys(thumbnail_shelf(tenant_id, shelf)))
        while not stopping() and (some := list(islice(keys, BLOBS))):
            with ctx.uow() as uow:
                count += uow.blobs.adopt(tenant_id, [sha256_of_key(key) for key in some])
                uow.commit()
    return count


def _sweep_uploads(ctx: Context, stopping: Stopping) -> int:
    """Delete files of requests that died before their job was stored, and of old queries. Returns how many.

    A job's id tells when its request came, and is never used again. A query that waited long for its answer is kept
    from then on, but not the shopper's picture that came with it.
    """
    retention = timedelta(hours=ctx.settings.query_retention_hours)
    with ctx.uow() as uow:
        tenants = uow.api_keys.tenants()
    count = 0
    for tenant_id in tenants:
        old = (job_id for job_id in _jobs_with_uploads(ctx, tenant_id) if made_at(job_id) < ctx.clock.now() - GRACE)
        while not stopping() and (asked := list(islice(old, SWEEP))):
            with ctx.uow() as uow:
                keeping = uow.jobs.keeping_files(asked, queries_since=ctx.clock.now() - retention)
            for job_id in set(asked) - keeping:
                ctx.objects.delete(ctx.objects.keys(job_prefix(tenant_id, job_id)))
                count += 1
    return count


def _jobs_with_uploads(ctx: Context, tenant_id: UUID) -> Iterator[UUID]:
    last = None
    for key in ctx.objects.keys(uploads_prefix(tenant_id)):
        job_id = job_of_upload(key)
        if job_id is not None and job_id != last:
            yield job_id
        last = job_id


STEPS = (
    expire_jobs,
    _end_unanswered,
    _expire_keys,
    _expire_uploads,
    _forget_versions,
    adopt_orphans,
    condemn_blobs,
    collect_blobs,
    _sweep_uploads,
    drop_outlived,
    catch_up,
    resume_deletions,
)
