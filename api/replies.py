"""Building responses: JSON from a model, 202 with the job, entity tags and preconditions."""

import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from uuid import UUID

from flask import Response, request
from pydantic import BaseModel

from api.runtime import context
from api.schemas.jobs import JobOut, Links, job_out
from core.documents import job_links
from core.jobs import TERMINAL, JobView
from core.models import Job, JobKind, WaitingFor

NDJSON = "application/x-ndjson"
QUERY_RETRY_AFTER_S = 1
RETRY_AFTER_S = 2
_VERSION_TAG = re.compile(r'"(\d{1,9})"')


def json_reply(
    model: BaseModel, *, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """The model as JSON."""
    return Response(model.model_dump_json(), status=status, headers=dict(headers or {}), mimetype="application/json")


def absolute(path: str) -> str:
    """`path` (with its leading slash) under the public URL."""
    base = context().settings.public_url or request.url_root
    return base.rstrip("/") + path


def _job_url(job_id: UUID) -> str:
    """Where a job is polled."""
    return absolute(f"/jobs/{job_id}")


def present(view: JobView) -> JobOut:
    """A job as JSON, with its links."""
    return job_out(view, Links.model_validate(job_links(view.job, _job_url(view.job.id))))


def accepted(job: Job) -> Response:
    """202: the job, where it is polled, and when."""
    view = JobView(job=job, waiting_for=None, eta_seconds=None)
    headers = {"Location": _job_url(job.id), "Retry-After": str(_retry_after(job))}
    return json_reply(present(view), status=HTTPStatus.ACCEPTED, headers=headers)


def _retry_after(job: Job) -> int:
    """Seconds until another poll makes sense."""
    return QUERY_RETRY_AFTER_S if job.kind is JobKind.QUERY else RETRY_AFTER_S


def job_headers(view: JobView, *, now: datetime) -> dict[str, str]:
    """ETag, and Retry-After until the job has ended.

    The tag is weak: eta and signatures differ from reading to reading. It changes with everything else, and often
    enough that nobody is left with expired URLs of a result.
    """
    job, waiting = view.job, view.waiting_for
    parts = [str(job.version), _waiting_tag(waiting) if waiting else "moving"]
    if job.kind in {JobKind.QUERY, JobKind.QUERY_BATCH, JobKind.EXPORT} and job.result is not None:
        parts.append(str(int(now.timestamp() / (context().settings.presigned_ttl_s / 2))))
    headers = {"ETag": f'W/"{".".join(parts)}"', "Cache-Control": "private, no-cache"}
    if job.state not in TERMINAL:
        headers["Retry-After"] = str(_retry_after(job))
    return headers


def _waiting_tag(waiting: WaitingFor) -> str:
    until = waiting.until.isoformat() if waiting.until else "due"
    return f"{waiting.queue}-{waiting.consumers}-{until}"


def not_modified(headers: Mapping[str, str]) -> bool:
    """Whether the client's If-None-Match names this ETag."""
    tag = headers["ETag"].removeprefix("W/").strip('"')
    return request.if_none_match.contains_weak(tag)


def unchanged(headers: Mapping[str, str]) -> Response:
    """304 with the headers that a 200 would have had."""
    return Response(status=HTTPStatus.NOT_MODIFIED, headers=dict(headers))


def version_tag(version: int) -> dict[str, str]:
    """ETag of a gallery or an image."""
    return {"ETag": f'"{version}"'}


def expected_version() -> int | None:
    """The version that If-Match asks for: None without the header or with `*`, 0 (never current) for a foreign tag."""
    raw = request.headers.get("If-Match", "*").strip()
    if raw == "*":
        return None
    tag = _VERSION_TAG.fullmatch(raw)
    return int(tag[1]) if tag else 0
