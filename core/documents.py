"""A finished job as JSON for those who are not asking: the body of webhooks.

The same fields as `GET /jobs/{id}` (a test compares the two), without what is only true at the moment of reading:
presigned URLs are null.
"""

from datetime import UTC, datetime
from typing import Any

from core import exports, querybatches, results
from core.context import Context
from core.jobs import TERMINAL
from core.models import Counters, Job, JobKind


def job_document(ctx: Context, job: Job) -> dict[str, Any]:
    """A job that has ended, its result included."""
    url = f"{ctx.settings.public_url.rstrip('/')}/jobs/{job.id}"
    return {
        "id": str(job.id),
        "kind": job.kind.value,
        "state": job.state.value,
        "stage": job.stage.value,
        "gallery": job.gallery_name,
        "created_at": _time(job.created_at),
        "started_at": _time(job.started_at),
        "finished_at": _time(job.finished_at),
        "expires_at": _time(job.expires_at),
        "progress": _progress(job.counters),
        "waiting_for": None,
        "eta_seconds": None,
        "result": _result(ctx, job),
        "error": job.error,
        "warnings": list(job.warnings),
        "links": job_links(job, url),
    }


def job_links(job: Job, url: str) -> dict[str, str | None]:
    """What belongs to a job, and what may be done with it, under the job's own URL."""
    ended_short = job.kind is JobKind.IMPORT and job.state in TERMINAL and job.counters.failed > 0
    return {
        "self": url,
        "items": f"{url}/items",
        "cancel": f"{url}/cancel",
        "retry": f"{url}/retry" if ended_short else None,
        "deliveries": f"{url}/deliveries" if job.callback_url is not None else None,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _progress(counters: Counters) -> dict[str, int | None]:
    return {
        "total": counters.total,
        "created": counters.created,
        "updated": counters.updated,
        "unchanged": counters.unchanged,
        "deleted": counters.deleted,
        "failed": counters.failed,
        "canceled": counters.canceled,
        "pending": counters.pending,
    }


def _result(ctx: Context, job: Job) -> dict[str, Any] | None:
    if job.kind is JobKind.EXPORT:
        return exports.result(job)
    if job.kind is JobKind.QUERY_BATCH:
        return querybatches.result(job)
    if job.kind is JobKind.QUERY:
        return results.of_query(ctx, job, signed=False)
    return job.result
