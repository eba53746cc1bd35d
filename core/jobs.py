"""Jobs: the state machine, how a job ends, and what a client sees of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from core.context import Context
from core.errors import ConflictError, NotFoundError
from core.ids import new_id
from core.models import (
    Counters,
    Gallery,
    ItemOutcome,
    Job,
    JobKind,
    JobStage,
    JobState,
    ListedOutcome,
    NewUnit,
    Outcome,
    Page,
    Phase,
    Principal,
    WaitingFor,
)
from core.ports import JobQuery, UnitOfWork
from core.urls import checked_url

TERMINAL = frozenset({JobState.SUCCEEDED, JobState.PARTIALLY_SUCCEEDED, JobState.FAILED, JobState.CANCELED})
TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLING, JobState.CANCELED, JobState.FAILED}),
    JobState.RUNNING: TERMINAL | {JobState.CANCELLING},
    JobState.CANCELLING: frozenset({JobState.CANCELED}),
    **{state: frozenset() for state in TERMINAL},
}


def rank(job: Job) -> UUID:
    """Whose row stands when two imports write the same image: that of the higher rank.

    A job's rank is its id, which grows with time. A retry has the rank of the import that failed, so that it never
    overwrites what was imported since.
    """
    return UUID(job.params["rank"]) if "rank" in job.params else job.id


def check_transition(before: JobState, after: JobState) -> None:
    """ConflictError unless a job may go from `before` to `after`."""
    if after not in TRANSITIONS[before]:
        raise ConflictError(f"A job that is {before} cannot become {after}.")


def closing_state(state: JobState, counters: Counters, *, failed: bool) -> JobState:
    """How a job without open units ends. `failed` = a fatal error of the job itself."""
    if state is JobState.CANCELLING:
        return JobState.CANCELED
    went_through = counters.created + counters.updated + counters.unchanged + counters.deleted
    if failed or (counters.failed and not went_through):
        return JobState.FAILED
    return JobState.PARTIALLY_SUCCEEDED if counters.failed else JobState.SUCCEEDED


def close_if_done(uow: UnitOfWork, job: Job) -> bool:
    """End the job if none of its units is open. The caller holds the job's row lock, so exactly one wins."""
    if job.state in TERMINAL or uow.units.open_kinds(job.id):
        return False
    return close(uow, job)


def close(uow: UnitOfWork, job: Job) -> bool:
    """End a job that has no open unit, by its counters as they are now. The caller holds the row lock."""
    fresh = uow.jobs.lock(job.id)
    if fresh is None:
        return False
    if fresh.state is JobState.QUEUED:
        uow.jobs.start(job.id)
    end = closing_state(fresh.state, fresh.counters, failed=False)
    _end(uow, job, end, error=_all_failed(fresh.counters) if end is JobState.FAILED else None)
    return True


def fail(uow: UnitOfWork, job: Job, *, code: str, detail: str) -> None:
    """End a job for a fatal reason; what it left undone is counted as canceled. The caller holds the row lock."""
    uow.units.cancel_pending(job.id)
    end = closing_state(job.state, job.counters, failed=True)
    _end(uow, job, end, error={"code": code, "detail": detail})


def _end(uow: UnitOfWork, job: Job, state: JobState, *, error: dict[str, Any] | None) -> None:
    uow.jobs.set_state(job.id, state, error=error)
    if job.kind is JobKind.IMPORT:
        uow.uploads.keep_with(job.id)  # a retry reads them again, for as long as the job is kept


def _all_failed(counters: Counters) -> dict[str, Any]:
    return {
        "code": "all_items_failed",
        "detail": f"None of the {counters.failed} items went through; see the job's items for each reason.",
    }


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a submission says about a new job."""

    kind: JobKind
    stage: JobStage
    gallery: Gallery | None
    params: dict[str, Any] = field(default_factory=dict)
    total: int | None = None
    keep: timedelta | None = None
    warnings: tuple[str, ...] = ()
    callback_url: str | None = None


def check_callback(url: str | None) -> str | None:
    """The URL itself when a webhook may be sent there. InvalidInputError when it is no http or https URL."""
    return None if url is None else checked_url(url, pointer="/callback_url")


def new_job(ctx: Context, principal: Principal, spec: JobSpec, *, job_id: UUID | None = None) -> Job:
    """A queued job, not yet stored."""
    now = ctx.clock.now()
    return Job(
        id=job_id or new_id(),
        tenant_id=principal.tenant_id,
        kind=spec.kind,
        state=JobState.QUEUED,
        stage=spec.stage,
        gallery_id=spec.gallery.id if spec.gallery else None,
        gallery_name=spec.gallery.name if spec.gallery else None,
        params=spec.params,
        counters=Counters(total=spec.total),
        result=None,
        error=None,
        warnings=spec.warnings,
        version=1,
        created_at=now,
        started_at=None,
        finished_at=None,
        expires_at=now + (spec.keep or timedelta(days=ctx.settings.job_retention_days)),
        callback_url=check_callback(spec.callback_url),
    )


def submit(ctx: Context, job: Job, units: Sequence[NewUnit]) -> Job:
    """Store a job and its units in one transaction, then ring. A broker that is away costs time, never work."""
    with ctx.uow() as uow:
        uow.jobs.add(job)
        uow.units.add(units)
        uow.commit()
    for queue in sorted({unit.queue for unit in units}):
        ctx.doorbell.ring(queue, times=sum(unit.queue is queue for unit in units))
    return job


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as clients see it."""

    job: Job
    waiting_for: WaitingFor | None
    eta_seconds: int | None


def view(ctx: Context, principal: Principal, job_id: UUID) -> JobView:
    """The job with what it waits for, by one statement. NotFoundError when it is not the tenant's."""
    alive_within = timedelta(seconds=ctx.settings.worker_dead_after_s)
    with ctx.uow(read_only=True) as uow:
        found = uow.jobs.watched(principal.tenant_id, job_id, alive_within=alive_within)
    if found is None:
        raise _unknown(job_id)
    job, waiting = found
    return JobView(job=job, waiting_for=waiting, eta_seconds=eta_seconds(job, ctx.clock.now()))


def get(ctx: Context, principal: Principal, job_id: UUID) -> Job:
    """The job alone: what a long-poll waits for a change of. NotFoundError as in `view`."""
    with ctx.uow(read_only=True) as uow:
        return find(uow, principal, job_id)


def phases(ctx: Context, job_ids: Sequence[UUID]) -> Mapping[UUID, Phase]:
    """State and stage of jobs that were found before, whoever's they are; without those that are gone since."""
    with ctx.uow(read_only=True) as uow:
        return uow.jobs.phases(job_ids)


def find(uow: UnitOfWork, principal: Principal, job_id: UUID) -> Job:
    """The tenant's job, inside a transaction."""
    job = uow.jobs.get(principal.tenant_id, job_id)
    if job is None:
        raise _unknown(job_id)
    return job


def _unknown(job_id: UUID) -> NotFoundError:
    return NotFoundError(f"There is no job {job_id}; finished jobs are kept for a limited time.")


def eta_seconds(job: Job, now: datetime) -> int | None:
    """Remaining seconds at the job's own mean rate; None before anything is done, or once it ended."""
    if job.state in TERMINAL or job.started_at is None or not job.counters.done:
        return None
    elapsed_s = (now - job.started_at).total_seconds()
    return round(job.counters.pending * elapsed_s / job.counters.done)


def list_jobs(ctx: Context, principal: Principal, query: JobQuery, *, size: int, after: str | None) -> Page[Job]:
    """The tenant's jobs, newest first."""
    with ctx.uow() as uow:
        return uow.jobs.page(principal.tenant_id, query, size=size, after=after)


@dataclass(frozen=True, slots=True)
class ItemQuery:
    """Which outcomes of a job to list."""

    outcome: ListedOutcome | None
    size: int
    after: str | None


def list_items(ctx: Context, principal: Principal, job_id: UUID, query: ItemQuery) -> Page[ItemOutcome]:
    """Outcomes of the job's items that are not plain success."""
    with ctx.uow() as uow:
        find(uow, principal, job_id)
        outcome = None if query.outcome is None else Outcome(query.outcome)
        return uow.items.page(job_id, outcome=outcome, size=query.size, after=query.after)


def cancel(ctx: Context, principal: Principal, job_id: UUID) -> Job:
    """Ask a job to stop between batches; what is done stays done. A job that already ended is returned as it is.

    ConflictError for the deletion of a gallery: nobody could reach what is left of it.
    """
    with ctx.uow() as uow:
        job = find(uow, principal, job_id)
        if job.kind is JobKind.DELETE and job.state not in TERMINAL:
            raise ConflictError("The deletion of a gallery cannot be cancelled: the gallery is hidden already.")
        cancel_locked(uow, job_id)
        uow.commit()
        return find(uow, principal, job_id)


def cancel_locked(uow: UnitOfWork, job_id: UUID) -> None:
    """Mark a job as cancelling and end the units that nobody runs; it closes here when none is running."""
    job = uow.jobs.lock(job_id)
    if job is None or job.state in TERMINAL:
        return
    if job.state is not JobState.CANCELLING:
        check_transition(job.state, JobState.CANCELLING)
        uow.jobs.set_state(job_id, JobState.CANCELLING)
    uow.units.cancel_pending(job_id)
    close_if_done(uow, job)
