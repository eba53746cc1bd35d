"""Bodies of jobs and their items."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, Field

from api.long_poll import MAX_WAIT_S
from api.schemas.common import Body, Finite, Name, PageOut, PageQuery, Reply
from core.jobs import JobView
from core.models import ItemOutcome, JobKind, JobStage, JobState, ListedOutcome, Outcome, Queue


class JobsQuery(PageQuery):
    """Query parameters of the listing of jobs."""

    state: JobState | None = None
    kind: JobKind | None = None
    gallery: Name | None = None
    created_after: AwareDatetime | None = Field(None, examples=["2026-11-23T00:00:00Z"])


class PollQuery(Body):
    """Query parameters of a poll."""

    wait: Finite = Field(
        0, ge=0, le=MAX_WAIT_S, description="Seconds to wait for the first change of state or stage. May answer sooner."
    )


class ItemsQuery(PageQuery):
    """Query parameters of the listing of items."""

    state: ListedOutcome | None = None


class Progress(Reply):
    """Counters of items. They add up to `total`, which is null until planning ends."""

    total: int | None
    created: int
    updated: int
    unchanged: int
    deleted: int
    failed: int
    canceled: int
    pending: int


class Waiting(Reply):
    """Why nothing moves."""

    queue: Queue
    consumers: int = Field(description="Live workers that take from the queue.")
    since: datetime | None = Field(description="It waits for a worker since then; null while it is put off.")
    until: datetime | None = Field(
        description="What could not be done for a passing reason is tried again then; null when it waits for a worker."
    )


class JobError(Reply):
    """Why a job failed."""

    code: str
    detail: str


class Links(Reply):
    """Absolute URLs of a job."""

    self: str
    items: str
    cancel: str
    retry: str | None = Field(description="POST here imports again what failed; null when there is nothing to retry.")
    deliveries: str | None = Field(description="What became of the webhook; null without a `callback_url`.")


class JobOut(Reply):
    """A piece of asynchronous work."""

    id: UUID
    kind: JobKind
    state: JobState
    stage: JobStage
    gallery: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime = Field(description="When the job is forgotten.")
    progress: Progress
    waiting_for: Waiting | None
    eta_seconds: int | None = Field(description="From the measured rate.")
    result: dict[str, Any] | None = Field(
        description="Of a query: see QueryResult, provisional until the job ends. Of an export: see ExportResult. Of a"
        " query batch: see QueryBatchResult. Of a re-index: see ReindexResult."
    )
    error: JobError | None
    warnings: list[str] = Field(description="What was done differently than asked.")
    links: Links


class JobPage(PageOut[JobOut]):
    """One page of jobs, newest first. `result` and `waiting_for` are left out (null): get the job for them."""


class ItemOut(Reply):
    """How one item ended, unless it plainly went through."""

    external_id: str
    state: Outcome
    source: str = Field(description="File, line or URL.")
    code: str
    detail: str


class ItemPage(PageOut[ItemOut]):
    """One page of items, in order of arrival."""


def job_out(view: JobView, links: Links) -> JobOut:
    """A job as JSON."""
    job, counters = view.job, view.job.counters
    waiting = view.waiting_for
    return JobOut(
        id=job.id,
        kind=job.kind,
        state=job.state,
        stage=job.stage,
        gallery=job.gallery_name,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        expires_at=job.expires_at,
        progress=Progress(
            total=counters.total,
            created=counters.created,
            updated=counters.updated,
            unchanged=counters.unchanged,
            deleted=counters.deleted,
            failed=counters.failed,
            canceled=counters.canceled,
            pending=counters.pending,
        ),
        waiting_for=Waiting.model_validate(waiting, from_attributes=True) if waiting else None,
        eta_seconds=view.eta_seconds,
        result=job.result,
        error=JobError.model_validate(job.error) if job.error else None,
        warnings=list(job.warnings),
        links=links,
    )


def item_out(item: ItemOutcome) -> ItemOut:
    """An item's outcome as JSON."""
    return ItemOut(
        external_id=item.external_id, state=item.outcome, source=item.source, code=item.code, detail=item.detail
    )
