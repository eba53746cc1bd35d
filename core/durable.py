"""Durable work: claim a unit, run it batch by batch, each batch one transaction. See docs/adr/0003.

A message only says "run one unit of these queues"; whoever gets it claims from SQL. A unit moves its cursor in the
transaction that writes a batch's effects, so that a re-run starts where the last commit ended and counts nothing twice.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, runtime_checkable
from uuid import UUID

import structlog

from core import jobs
from core.context import Context
from core.errors import ItemError, LeaseLostError, ServiceError, UnavailableError
from core.gate import Gate
from core.lease import Lease, still_moving
from core.models import ClaimedUnit, ItemOutcome, Job, JobStage, JobState, Outcome, Queue, UnitKind, UnitState
from core.ports import UnitOfWork

log = structlog.get_logger()

POISON_ATTEMPTS = 3
UNAVAILABLE_DELAY = timedelta(seconds=2)
INSIST_EVERY_S = 0.5
STRIKE_DELAY = timedelta(seconds=1)
STAGE_OF = {
    UnitKind.PLAN: JobStage.PLANNING,
    UnitKind.FETCH: JobStage.FETCHING,
    UnitKind.EMBED: JobStage.EMBEDDING,
    UnitKind.REEMBED: JobStage.EMBEDDING,
    UnitKind.REINDEX: JobStage.INDEXING,
    UnitKind.VERIFY: JobStage.FINISHING,
    UnitKind.REFERENCE: JobStage.FETCHING,
    UnitKind.SEARCH: JobStage.SEARCHING,
    UnitKind.RERANK: JobStage.RERANKING,
    UnitKind.BATCH_SEARCH: JobStage.SEARCHING,
    UnitKind.BATCH_RERANK: JobStage.RERANKING,
    UnitKind.BATCH_RESULT: JobStage.FINISHING,
    UnitKind.DELETE_GALLERY: JobStage.FINISHING,
    UnitKind.SWEEP: JobStage.FINISHING,
    UnitKind.EXPORT: JobStage.FINISHING,
}
DEFERRABLE = frozenset({UnitKind.SWEEP, UnitKind.REINDEX, UnitKind.BATCH_RESULT})
"""Kinds of units that may wait until no other unit of their job is open."""


class Batch(Protocol):
    """What was computed outside a transaction and waits to be written in one."""

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Write the effects; returns the outcome of each item that ended here."""
        ...

    def rings(self) -> Sequence[Queue]:
        """Queues that got a new unit by `write`."""
        ...


@runtime_checkable
class LongBatch(Batch, Protocol):
    """A batch that takes long to write, and may be given up meanwhile."""

    def write_ahead(self, uow: UnitOfWork) -> Generator[None]:
        """Write all but the last of it, a part a step. The job's row is not locked yet, so that a cancel need not wait.

        `write` follows in the same transaction, unless that was given up after a part.
        """
        ...


class UnitRun(Protocol):
    """A claimed unit being worked on."""

    @property
    def batch_items(self) -> int:
        """Items a batch, when nothing has gone wrong."""
        ...

    def compute(self, start: int, stop: int) -> Batch:
        """The work of items [start, stop), without a transaction."""
        ...

    def poison(self, item: int) -> ItemOutcome | None:
        """The outcome of an item that keeps killing workers; None when the unit cannot go on without it."""
        ...


class Handler(Protocol):
    """One kind of unit."""

    def open(self, unit: ClaimedUnit, job: Job) -> UnitRun:
        """Load what the unit needs. ServiceError ends the job, UnavailableError hands the unit back."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerSlot:
    """Where units run: the queues taken, the worker's name, and whether it was asked to stop.

    Slots of one process share its `gate`.
    """

    name: str
    queues: tuple[Queue, ...]
    stopping: Callable[[], bool]
    on_batch: Callable[[], None]
    gate: Gate = field(default_factory=Gate)


def run_one(ctx: Context, handlers: Mapping[UnitKind, Handler], slot: WorkerSlot) -> bool:
    """Run one unit of the slot's queues, if any is due. Returns whether there was one."""
    if slot.stopping():
        return False
    with ctx.uow() as uow:
        unit = uow.units.claim(slot.queues, worker=slot.name, lease=timedelta(seconds=ctx.settings.lease_s))
        uow.commit()
    if unit is None:
        return False
    with structlog.contextvars.bound_contextvars(job_id=str(unit.job_id), unit_id=str(unit.id), unit_kind=unit.kind):
        _run_claimed(ctx, handlers[unit.kind], unit, slot)
    _ring_if_more(ctx, slot)
    return True


def _run_claimed(ctx: Context, handler: Handler, unit: ClaimedUnit, slot: WorkerSlot) -> None:
    with Lease(ctx, unit) as lease:
        try:
            _work(ctx, handler, unit, _Progress(slot=slot, lease=lease))
        except LeaseLostError:
            log.warning("unit.lease_lost")
        except UnavailableError as error:
            log.warning("unit.handed_back", reason=error.detail)
            _hand_back(ctx, unit, slot, delay=UNAVAILABLE_DELAY)
        except ServiceError as error:
            code = error.item_code if isinstance(error, ItemError) else error.code
            log.warning("unit.failed", code=code, detail=error.detail)
            _fail_job(ctx, unit, code=code, detail=error.detail)
        except Exception:
            log.exception("unit.crashed")
            _strike(ctx, unit)


class _GivenUpError(Exception):
    """A batch was rolled back: its job does not run any more, or the worker was asked to stop."""


def _work(ctx: Context, handler: Handler, unit: ClaimedUnit, progress: "_Progress") -> None:
    job = _start(ctx, unit)
    if job is None:
        return
    try:
        _run_batches(ctx, handler.open(unit, job), unit, progress)
    except _GivenUpError:
        if _start(ctx, unit) is not None:
            _hand_back(ctx, unit, progress.slot, delay=timedelta(0))


def _start(ctx: Context, unit: ClaimedUnit) -> Job | None:
    """Mark the job running. None when it ended or is being cancelled: the unit is then closed here."""
    with ctx.uow() as uow:
        uow.units.lock(unit.id, unit.lease_token)
        job = uow.jobs.lock(unit.job_id)
        if job is None or job.state in jobs.TERMINAL or job.state is JobState.CANCELLING:
            _drop(uow, unit, job)
            job = None
        else:
            uow.jobs.start(unit.job_id)
        uow.commit()
    return job


def _drop(uow: UnitOfWork, unit: ClaimedUnit, job: Job | None) -> None:
    uow.units.finish(unit.id, UnitState.CANCELED)
    if job is not None:
        jobs.close_if_done(uow, job)


@dataclass(frozen=True, slots=True)
class _Progress:
    slot: WorkerSlot
    lease: Lease


def _run_batches(ctx: Context, run: UnitRun, unit: ClaimedUnit, progress: _Progress) -> None:
    cursor, limit, suspect = unit.cursor, unit.batch_limit, unit.attempts > 0
    if unit.attempts >= POISON_ATTEMPTS:
        if not _skip_poison(ctx, run, unit, progress.slot):
            return
        cursor, suspect = cursor + 1, False
    while cursor < unit.size:
        if progress.slot.stopping():
            _hand_back(ctx, unit, progress.slot, delay=timedelta(0))
            return
        progress.slot.on_batch()
        stop = min(unit.size, cursor + min(run.batch_items, limit or run.batch_items))
        limit = None if limit is None or 2 * limit >= run.batch_items else 2 * limit
        progress.lease.batch_waits()
        with progress.slot.gate.pass_through(suspect=suspect):
            progress.lease.batch_begins()
            batch = run.compute(cursor, stop)
            _commit(ctx, unit, progress.slot, _Step(batch, cursor=stop, limit=limit))
        cursor, suspect = stop, False
        for queue in batch.rings():
            ctx.doorbell.ring(queue)


@dataclass(frozen=True, slots=True)
class _Step:
    """A batch, and where its unit stands once it is written."""

    batch: Batch
    cursor: int
    limit: int | None


def _commit(ctx: Context, unit: ClaimedUnit, slot: WorkerSlot, step: _Step) -> None:
    """One transaction: effects, outcomes, counters, cursor. _GivenUpError, and none of it, when the job has ended."""
    woken = None
    with ctx.uow() as uow:
        uow.units.lock(unit.id, unit.lease_token)
        if isinstance(step.batch, LongBatch):
            _write_ahead(uow, step.batch, unit, slot)
        # Units of a job take its row lock before they finish, so that exactly one sees that none is left.
        job = uow.jobs.lock(unit.job_id)
        if job is None or job.state is not JobState.RUNNING:
            raise _GivenUpError
        _count(uow, job, step.batch.write(uow))
        uow.units.advance(unit.id, cursor=step.cursor, batch_limit=step.limit)
        if step.cursor >= unit.size:
            uow.units.finish(unit.id, UnitState.DONE)
            woken = _settle(uow, job)
        uow.commit()
    if woken is not None:
        ctx.doorbell.ring(woken)


def _write_ahead(uow: UnitOfWork, batch: LongBatch, unit: ClaimedUnit, slot: WorkerSlot) -> None:
    with closing(batch.write_ahead(uow)) as parts:
        for _ in parts:
            still_moving()
            slot.on_batch()
            if slot.stopping() or not _runs(uow, unit.job_id):
                raise _GivenUpError


def _runs(uow: UnitOfWork, job_id: UUID) -> bool:
    phase = uow.jobs.phases([job_id]).get(job_id)
    return phase is not None and phase[0] is JobState.RUNNING


def _count(uow: UnitOfWork, job: Job, outcomes: Sequence[ItemOutcome]) -> None:
    counts: dict[Outcome, int] = {}
    for outcome in outcomes:
        counts[outcome.outcome] = counts.get(outcome.outcome, 0) + 1
    if counts:
        uow.jobs.count(job.id, counts)
    notable = [outcome for outcome in outcomes if outcome.code]
    if notable:
        uow.items.add(job.id, job.tenant_id, notable)


def _settle(uow: UnitOfWork, job: Job) -> Queue | None:
    """After a unit ended: close the job, or name the stage that is still open. The queue of a unit that is due now."""
    open_kinds = uow.units.open_kinds(job.id)
    if not open_kinds:
        jobs.close(uow, job)
        return None
    first = next(kind for kind in UnitKind if kind in open_kinds)
    uow.jobs.set_stage(job.id, STAGE_OF[first])
    return uow.units.wake_deferred(job.id) if open_kinds <= DEFERRABLE else None


def _skip_poison(ctx: Context, run: UnitRun, unit: ClaimedUnit, slot: WorkerSlot) -> bool:
    """Give up on the item at the cursor. False when the unit cannot go on without it: its job fails."""
    outcome = run.poison(unit.cursor) if unit.cursor < unit.size else None
    if outcome is None:
        detail = "This step failed repeatedly and was given up; the operator's logs name the reason."
        _fail_job(ctx, unit, code="gave_up", detail=detail)
        return False
    log.error("unit.poison", external_id=outcome.external_id)
    _commit(ctx, unit, slot, _Step(Skipped(outcome), cursor=unit.cursor + 1, limit=1))
    return True


@dataclass(frozen=True, slots=True)
class Skipped:
    """The batch of one item that is passed over."""

    outcome: ItemOutcome

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Only the outcome."""
        del uow
        return (self.outcome,)

    def rings(self) -> Sequence[Queue]:
        """No queue."""
        return ()


def _hand_back(ctx: Context, unit: ClaimedUnit, slot: WorkerSlot, *, delay: timedelta) -> None:
    """Give the unit to whoever comes next.

    While Postgres itself is away this insists, as a lease that runs out would count as an attempt.
    """
    deadline_s = time.monotonic() + ctx.settings.lease_s
    while True:
        try:
            with ctx.uow() as uow:
                uow.units.release(unit.id, unit.lease_token, delay=delay)
                uow.commit()
        except UnavailableError as error:
            if slot.stopping() or time.monotonic() > deadline_s:
                log.warning("unit.lease_left_to_expire", reason=error.detail)
                return
            time.sleep(INSIST_EVERY_S)
        else:
            ctx.doorbell.ring(unit.queue)
            return


def _strike(ctx: Context, unit: ClaimedUnit) -> None:
    try:
        with ctx.uow() as uow:
            uow.units.strike(unit.id, unit.lease_token, delay=STRIKE_DELAY)
            uow.commit()
    except UnavailableError as error:
        log.warning("unit.lease_left_to_expire", reason=error.detail)


def _fail_job(ctx: Context, unit: ClaimedUnit, *, code: str, detail: str) -> None:
    try:
        with ctx.uow() as uow:
            uow.units.lock(unit.id, unit.lease_token)
            uow.units.finish(unit.id, UnitState.FAILED)
            job = uow.jobs.lock(unit.job_id)
            if job is not None and job.state not in jobs.TERMINAL:
                jobs.fail(uow, job, code=code, detail=detail)
            uow.commit()
    except LeaseLostError:
        log.warning("unit.lease_lost")
    except UnavailableError as error:
        log.warning("unit.lease_left_to_expire", reason=error.detail)


def _ring_if_more(ctx: Context, slot: WorkerSlot) -> None:
    try:
        with ctx.uow() as uow:
            due = uow.units.due()
    except UnavailableError:
        return
    for queue in slot.queues:
        if due.get(queue):
            ctx.doorbell.ring(queue)
