"""The reconciler: repairs what a crash, a lost message or a missing worker left behind. Safe to run anywhere, often."""

from datetime import timedelta
from uuid import UUID

import structlog

from core import jobs
from core.context import Context
from core.models import Consumers, JobState

log = structlog.get_logger()

MESSAGES_PER_WORKER = 4
SWEEP = 100


def reconcile(ctx: Context) -> None:
    """Free expired leases, finish cancellations, forget dead workers, and top each queue up with doorbell messages."""
    with ctx.uow() as uow:
        freed = uow.units.free_expired()
        uow.workers.forget(silent_for=timedelta(seconds=20 * ctx.settings.worker_dead_after_s))
        cancelling = uow.jobs.cancelling(limit=SWEEP)
        uow.commit()
    if freed:
        log.warning("reconcile.leases_freed", units=[str(unit) for unit in freed])
    for job_id in cancelling:
        with ctx.uow() as uow:
            jobs.cancel_locked(uow, job_id)
            uow.commit()
    top_up(ctx)


def top_up(ctx: Context) -> None:
    """Ring every queue up to min(due units, 4 x live workers) waiting messages."""
    with ctx.uow() as uow:
        due = uow.units.due()
        alive = uow.workers.consumers(alive_within=timedelta(seconds=ctx.settings.worker_dead_after_s))
    for queue, pending in due.items():
        workers = alive.get(queue, Consumers(queue=queue, count=0, last_seen_at=None)).count
        depth = ctx.doorbell.depth(queue)
        missing = min(pending, MESSAGES_PER_WORKER * max(workers, 1)) - (depth or 0)
        if depth is not None and missing > 0:
            log.info("reconcile.rang", queue=queue, messages=missing, pending=pending)
            ctx.doorbell.ring(queue, times=missing)


def enforce_deadlines(ctx: Context) -> int:
    """End queries whose re-rank budget is over with their coarse order. Returns how many."""
    with ctx.uow() as uow:
        overdue = uow.jobs.overdue(ctx.clock.now(), limit=SWEEP)
    return sum(_end_with_coarse_order(ctx, job_id) for job_id in overdue)


def _end_with_coarse_order(ctx: Context, job_id: UUID) -> bool:
    with ctx.uow() as uow:
        job = uow.jobs.lock(job_id)
        if job is None or job.state is not JobState.RUNNING or job.result is None:
            return False
        reason = "The re-rank budget ran out before a judge answered; this is the coarse order."
        uow.jobs.set_result(job_id, {**job.result, "reranked": False, "provisional": False, "reason": reason})
        uow.units.cancel_pending(job_id)
        uow.jobs.set_state(job_id, JobState.SUCCEEDED)
        uow.commit()
    return True
