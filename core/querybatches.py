"""Query batches: asking for one, and what its result shows. core/batching.py does the work. See docs/adr/0023."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, BinaryIO, cast

from core import galleries, jobs
from core.batchlines import Cutting, Range
from core.context import Context
from core.errors import FieldError, InvalidInputError
from core.ids import new_id
from core.keys import upload_key
from core.models import DEFERRED, Job, JobKind, JobStage, NewUnit, Principal, Queue, UnitKind

FORMAT = "ndjson"
MEDIA_TYPE = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What a client asks: a file of queries, one a line."""

    gallery: str
    stream: BinaryIO
    callback_url: str | None = None


def submit(ctx: Context, principal: Principal, new: NewBatch) -> Job:
    """Store the file and queue its queries. InvalidInputError when there are none, or too many."""
    jobs.check_callback(new.callback_url)
    gallery = galleries.get(ctx, principal, new.gallery)
    job_id = new_id()
    key = upload_key(principal.tenant_id, job_id, 0)
    settings = ctx.settings
    cutting = Cutting(new.stream, every=settings.batch_queries, most=settings.max_batch_queries)
    ctx.objects.put_stream(key, cast("BinaryIO", cutting), media_type=MEDIA_TYPE)
    ranges = cutting.ranges()
    if not ranges:
        detail = "has no queries: write one JSON object a line"
        raise InvalidInputError(f"`file` {detail}.", errors=(FieldError("/file", detail),))
    spec = jobs.JobSpec(
        kind=JobKind.QUERY_BATCH,
        stage=JobStage.SEARCHING,
        gallery=gallery,
        params={"key": key},
        total=sum(each.queries for each in ranges),
        keep=timedelta(hours=settings.query_retention_hours),
        callback_url=new.callback_url,
    )
    job = jobs.new_job(ctx, principal, spec, job_id=job_id)
    return jobs.submit(ctx, job, [*(_search_unit(job, each) for each in ranges), _result_unit(job)])


def _search_unit(job: Job, lines: Range) -> NewUnit:
    return NewUnit(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=UnitKind.BATCH_SEARCH,
        queue=Queue.QUERY,
        size=lines.queries,
        payload={"first_line": lines.first_line, "offset": lines.offset, "size_bytes": lines.size_bytes},
    )


def rerank_unit(job: Job, *, first_line: int, key: str, size: int) -> NewUnit:
    """The unit that judges the shortlists in an object, of `size` lines from the range that begins at `first_line`."""
    return NewUnit(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=UnitKind.BATCH_RERANK,
        queue=Queue.RERANK,
        size=size,
        payload={"first_line": first_line, "key": key},
    )


def _result_unit(job: Job) -> NewUnit:
    """Due when every query has its answer."""
    return NewUnit(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=UnitKind.BATCH_RESULT,
        queue=Queue.MAINTENANCE,
        size=1,
        payload={},
        not_before=DEFERRED,
    )


def result(job: Job, ctx: Context | None = None) -> dict[str, Any] | None:
    """The result with the file's URL: short-lived, signed now with a context, null without one."""
    if job.result is None:
        return None
    expires = timedelta(seconds=ctx.settings.presigned_ttl_s) if ctx else None
    url = ctx.objects.presign_get(job.result["key"], expires=expires) if ctx and expires else None
    return {**job.result, "url": url}
