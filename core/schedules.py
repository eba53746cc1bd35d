"""Schedules: a gallery that is imported, or re-indexed, by itself at the ticks of a cron expression. See docs/adr/0024.

Whoever looks for due schedules, how often, and how many at once does not matter: a row lock gives a due schedule to one
of them, and a unique key of SQL allows one job a tick.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from core import galleries, generations, imports, jobs
from core.context import Context
from core.cron import Cron
from core.errors import ConflictError, FieldError, InvalidInputError, NotFoundError, ServiceError
from core.generations import NewIndex
from core.imports import UPSERT, NewImport
from core.models import Job, NewUnit, Principal, Schedule, SkippedTick
from core.ports import UnitOfWork

log = structlog.get_logger()

SWEEP = 100


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """What a client wants to happen at each tick of `cron` (five fields) in `timezone` (IANA).

    `source` holds one of NewImport's `urls`, `manifest` and `s3_prefix`: each tick imports from there. Without it each
    tick is a re-index. `mode`, `max_delete_share` and `callback_url` are those of the imports.
    """

    gallery: str
    cron: str
    timezone: str = "UTC"
    source: Mapping[str, Any] | None = None
    mode: str = UPSERT
    max_delete_share: float | None = None
    callback_url: str | None = None


def put(ctx: Context, principal: Principal, new: NewSchedule) -> tuple[Schedule, bool]:
    """Set the gallery's schedule; returns it, and whether it had none before.

    The first tick of another cron expression or time zone lies ahead; a tick that is due already is not lost when the
    same ones are set again.

    InvalidInputError for a cron expression, time zone or source that cannot be.
    """
    gallery = galleries.get(ctx, principal, new.gallery)
    cron = Cron(new.cron, new.timezone)
    params = {
        "source": None if new.source is None else dict(new.source),
        "mode": new.mode,
        "max_delete_share": new.max_delete_share,
        "callback_url": new.callback_url,
    }
    _check(ctx, principal, new.gallery, params)
    now = ctx.clock.now()
    schedule = Schedule(
        gallery_id=gallery.id,
        tenant_id=gallery.tenant_id,
        gallery_name=gallery.name,
        cron=cron.expression,
        timezone=new.timezone,
        params=params,
        next_tick=cron.next_tick(now),
        created_at=now,
        updated_at=now,
    )
    with ctx.uow() as uow:
        is_new = uow.schedules.put(schedule)
        stored = _found(uow, gallery.id, gallery.name)
        uow.commit()
    return stored, is_new


def get(ctx: Context, principal: Principal, gallery_name: str) -> Schedule:
    """The gallery's schedule. NotFoundError when it has none."""
    with ctx.uow() as uow:
        gallery = galleries.find(uow, principal, gallery_name)
        return _found(uow, gallery.id, gallery.name)


def remove(ctx: Context, principal: Principal, gallery_name: str) -> None:
    """End the schedule; a job that it made goes on. NotFoundError when there is none."""
    with ctx.uow() as uow:
        gallery = galleries.find(uow, principal, gallery_name)
        if not uow.schedules.remove(gallery.id):
            raise _none(gallery.name)
        uow.commit()


def _found(uow: UnitOfWork, gallery_id: UUID, name: str) -> Schedule:
    schedule = uow.schedules.get(gallery_id)
    if schedule is None:
        raise _none(name)
    return schedule


def _none(name: str) -> NotFoundError:
    return NotFoundError(f"Gallery `{name}` has no schedule; set one with PUT /galleries/{name}/schedule.")


def _check(ctx: Context, principal: Principal, gallery: str, params: Mapping[str, Any]) -> None:
    if params["source"] is not None:
        imports.check(ctx, principal, _import_of(gallery, params))
        return
    jobs.check_callback(params["callback_url"])
    for name, plain in (("mode", UPSERT), ("max_delete_share", None)):
        if params[name] != plain:
            detail = f"`{name}` goes with a `source`; without one each tick is a re-index."
            raise InvalidInputError(detail, errors=(FieldError(f"/{name}", detail),))


def _import_of(gallery: str, params: Mapping[str, Any]) -> NewImport:
    return NewImport(
        gallery=gallery,
        mode=params["mode"],
        max_delete_share=params["max_delete_share"],
        callback_url=params["callback_url"],
        **params["source"],
    )


def run_due(ctx: Context) -> int:
    """Start what is due; returns how many jobs that made. What a dependency keeps from starting is due again at once.

    Ticks that nobody was there for are made up for by one job, that of the latest of them.
    """
    with ctx.uow() as uow:
        due = uow.schedules.due(ctx.clock.now(), limit=SWEEP)
    return sum(_run(ctx, gallery_id) for gallery_id in due)


def _run(ctx: Context, gallery_id: UUID) -> bool:
    """Whether it made a job. What goes wrong with one gallery must not keep others from their ticks."""
    now = ctx.clock.now()
    try:
        try:
            return _start(ctx, gallery_id, now)
        except (ConflictError, InvalidInputError, NotFoundError) as error:
            _skip(ctx, gallery_id, now, reason=error.detail)
    except ServiceError as error:
        log.warning("schedule.put_off", gallery_id=str(gallery_id), reason=error.detail)
    except Exception:
        log.exception("schedule.failed", gallery_id=str(gallery_id))
    return False


def _start(ctx: Context, gallery_id: UUID, now: datetime) -> bool:
    """Make the tick's job, all in one transaction."""
    with ctx.uow() as uow:
        schedule = uow.schedules.claim(gallery_id, now)
        if schedule is None:
            return False
        tick, next_tick = _ticks(schedule, now)
        running = uow.jobs.open_scheduled(gallery_id)
        if running is not None:
            raise ConflictError(f"Job {running} of an earlier tick had not ended.")
        job, unit = _prepare(ctx, uow, schedule)
        if not uow.jobs.add_scheduled(job, tick):
            raise ConflictError("This tick has its job already.")
        uow.units.add([unit])
        uow.schedules.record(replace(schedule, last_tick=tick, next_tick=next_tick, last_job_id=job.id))
        uow.commit()
    log.info("schedule.started", gallery_id=str(gallery_id), tick=tick.isoformat(), job_id=str(job.id))
    ctx.doorbell.ring(unit.queue)
    return True


def _prepare(ctx: Context, uow: UnitOfWork, schedule: Schedule) -> tuple[Job, NewUnit]:
    principal = Principal.nobody(schedule.tenant_id)
    if schedule.params["source"] is None:
        new = NewIndex(schedule.gallery_name, callback_url=schedule.params["callback_url"])
        return generations.prepare(ctx, uow, principal, new)
    job = imports.prepare(ctx, principal, _import_of(schedule.gallery_name, schedule.params))
    return job, imports.plan_unit(job)


def _skip(ctx: Context, gallery_id: UUID, now: datetime, *, reason: str) -> None:
    """Say that the tick made no job, in a transaction of its own: nothing half-made is left."""
    with ctx.uow() as uow:
        schedule = uow.schedules.claim(gallery_id, now)
        if schedule is None:
            return
        tick, next_tick = _ticks(schedule, now)
        uow.schedules.record(
            replace(schedule, last_tick=tick, next_tick=next_tick, last_skipped=SkippedTick(tick, reason))
        )
        uow.commit()
    log.warning("schedule.skipped", gallery_id=str(gallery_id), tick=tick.isoformat(), reason=reason)


def _ticks(schedule: Schedule, now: datetime) -> tuple[datetime, datetime]:
    """The latest tick that has come, and the first that has not."""
    cron = Cron(schedule.cron, schedule.timezone)
    return cron.latest_tick(schedule.next_tick, now), cron.next_tick(now)
