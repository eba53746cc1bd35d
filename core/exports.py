"""Exports: asking for one, and what its result shows. core/exporting.py does the work."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from core import galleries, jobs
from core.context import Context
from core.ids import new_id
from core.models import Job, JobKind, JobStage, NewUnit, Principal, Queue, UnitKind

FORMAT = "parquet"


@dataclass(frozen=True, slots=True)
class NewExport:
    """What a client asks for: metadata of all images, and the vectors of the active generation unless left out."""

    gallery: str
    vectors: bool = True
    callback_url: str | None = None


def submit(ctx: Context, principal: Principal, new: NewExport) -> Job:
    """Queue an export. NotFoundError when there is no such gallery."""
    jobs.check_callback(new.callback_url)
    gallery = galleries.get(ctx, principal, new.gallery)
    index_id = str(gallery.active_index_id) if new.vectors and gallery.active_index_id else None
    spec = jobs.JobSpec(
        kind=JobKind.EXPORT,
        stage=JobStage.PLANNING,
        gallery=gallery,
        params={"index_id": index_id},
        callback_url=new.callback_url,
    )
    job = jobs.new_job(ctx, principal, spec)
    return jobs.submit(ctx, job, [export_unit(job, {})])


def export_unit(job: Job, payload: dict[str, Any]) -> NewUnit:
    """The unit that plans the export, or, with the payload of a part, the one that writes it."""
    return NewUnit(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=UnitKind.EXPORT,
        queue=Queue.MAINTENANCE,
        size=1,
        payload=payload,
    )


def result(job: Job, ctx: Context | None = None) -> dict[str, Any] | None:
    """The result with a URL for each file: short-lived, signed now with a context, null without one."""
    if job.result is None:
        return None
    expires = timedelta(seconds=ctx.settings.presigned_ttl_s) if ctx else None
    files = [
        {**file, "url": ctx.objects.presign_get(file["key"], expires=expires) if ctx and expires else None}
        for file in job.result["files"]
    ]
    return {**job.result, "files": files}
