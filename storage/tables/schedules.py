"""Schedules of galleries."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables.base import Base, CreatedAt, Json, TenantId, Timestamp


class ScheduleRow(Base):
    """What a gallery does by itself. That a tick makes one job is kept by a unique index of `jobs`."""

    __tablename__ = "schedules"
    __table_args__ = (Index(None, "next_tick"),)

    gallery_id: Mapped[UUID] = mapped_column(ForeignKey("galleries.id", ondelete="CASCADE"), primary_key=True)
    tenant_id: Mapped[TenantId]
    cron: Mapped[str]
    timezone: Mapped[str]
    params: Mapped[Json]
    next_tick: Mapped[Timestamp]
    last_tick: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # No foreign key: jobs expire.
    last_job_id: Mapped[UUID | None]
    skipped_tick: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    skipped_reason: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]
