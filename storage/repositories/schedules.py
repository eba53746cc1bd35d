"""Schedules of galleries."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Row, Select, and_, case, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert

from core.models import Schedule, SkippedTick
from storage.tables import GalleryRow, ScheduleRow
from storage.transaction import Transaction


class SqlSchedules:
    """Implements `core.ports.Schedules`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def get(self, gallery_id: UUID) -> Schedule | None:
        """The gallery's schedule."""
        return self._one(_select().where(ScheduleRow.gallery_id == gallery_id))

    def put(self, schedule: Schedule) -> bool:
        """Store cron, timezone, params and next tick; what came of earlier ticks stays. Returns whether it is new.

        With the same cron and time zone as before the next tick stays too: it may be due, and nobody has seen it yet.
        """
        values: dict[str, Any] = {
            "cron": schedule.cron,
            "timezone": schedule.timezone,
            "params": schedule.params,
            "next_tick": schedule.next_tick,
            "updated_at": func.now(),
        }
        same_ticks = and_(ScheduleRow.cron == schedule.cron, ScheduleRow.timezone == schedule.timezone)
        statement = (
            insert(ScheduleRow)
            .values(gallery_id=schedule.gallery_id, tenant_id=schedule.tenant_id, **values)
            .on_conflict_do_update(
                index_elements=[ScheduleRow.gallery_id],
                set_=values | {"next_tick": case((same_ticks, ScheduleRow.next_tick), else_=schedule.next_tick)},
            )
        )
        # Nobody has written the row before, so no transaction has locked or replaced a version of it.
        is_new = literal_column("xmax = 0", Boolean)
        return bool(self._transaction.execute(statement.returning(is_new)).scalar_one())

    def remove(self, gallery_id: UUID) -> bool:
        """Delete; returns whether there was one."""
        return self._transaction.execute(delete(ScheduleRow).where(ScheduleRow.gallery_id == gallery_id)).rowcount > 0

    def due(self, now: datetime, *, limit: int) -> tuple[UUID, ...]:
        """Galleries whose next tick has come, the most overdue first; without those that are being deleted."""
        statement = (
            select(ScheduleRow.gallery_id)
            .join(GalleryRow, GalleryRow.id == ScheduleRow.gallery_id)
            .where(ScheduleRow.next_tick <= now, ~GalleryRow.deleting)
            .order_by(ScheduleRow.next_tick)
            .limit(limit)
        )
        return tuple(self._transaction.execute(statement).scalars())

    def claim(self, gallery_id: UUID, now: datetime) -> Schedule | None:
        """The schedule, its row locked, if it is still due and nobody else has it. SKIP LOCKED."""
        statement = _select().where(ScheduleRow.gallery_id == gallery_id, ScheduleRow.next_tick <= now)
        return self._one(statement.with_for_update(skip_locked=True, of=ScheduleRow))

    def record(self, schedule: Schedule) -> None:
        """Write the next tick, and what became of the last one."""
        skipped = schedule.last_skipped
        statement = (
            update(ScheduleRow)
            .where(ScheduleRow.gallery_id == schedule.gallery_id)
            .values(
                next_tick=schedule.next_tick,
                last_tick=schedule.last_tick,
                last_job_id=schedule.last_job_id,
                skipped_tick=skipped.tick if skipped else None,
                skipped_reason=skipped.reason if skipped else None,
            )
        )
        self._transaction.execute(statement)

    def _one(self, statement: Select[*tuple[Any, ...]]) -> Schedule | None:
        row = self._transaction.execute(statement).one_or_none()
        return None if row is None else _schedule(row)


def _select() -> Select[*tuple[Any, ...]]:
    return select(
        ScheduleRow.gallery_id,
        ScheduleRow.tenant_id,
        GalleryRow.name.label("gallery_name"),
        ScheduleRow.cron,
        ScheduleRow.timezone,
        ScheduleRow.params,
        ScheduleRow.next_tick,
        ScheduleRow.last_tick,
        ScheduleRow.last_job_id,
        ScheduleRow.skipped_tick,
        ScheduleRow.skipped_reason,
        ScheduleRow.created_at,
        ScheduleRow.updated_at,
    ).join(GalleryRow, GalleryRow.id == ScheduleRow.gallery_id)


def _schedule(row: Row[*tuple[Any, ...]]) -> Schedule:
    return Schedule(
        gallery_id=row.gallery_id,
        tenant_id=row.tenant_id,
        gallery_name=row.gallery_name,
        cron=row.cron,
        timezone=row.timezone,
        params=row.params,
        next_tick=row.next_tick,
        last_tick=row.last_tick,
        last_job_id=row.last_job_id,
        last_skipped=None if row.skipped_tick is None else SkippedTick(row.skipped_tick, row.skipped_reason),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
