"""Units of work, and the workers that run them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Queue, UnitKind, UnitState
from storage.tables.base import ROOM_FOR_UPDATES, Base, CreatedAt, Id, Json, TenantId, Texts, Timestamp, one_of


class UnitRow(Base):
    """A chunk of a job's work. Running means leased: token, time and worker are set together."""

    __tablename__ = "work_units"
    __table_args__ = (
        Index("ix_work_units_pending", "queue", "tenant_id", "id", postgresql_where=text("state = 'pending'")),
        # At most a row per busy worker; without the lease's time, so that renewing it touches no index.
        Index("ix_work_units_running", "tenant_id", postgresql_where=text("state = 'running'")),
        Index("ix_work_units_open_kinds", "job_id", "kind", postgresql_where=text("state IN ('pending', 'running')")),
        Index(None, "job_id", "state", "id"),
        one_of("kind", UnitKind),
        one_of("queue", Queue),
        one_of("state", UnitState),
        CheckConstraint("num_nulls(lease_token, lease_until, worker) IN (0, 3)", name="lease_is_whole"),
        CheckConstraint("(state = 'running') = (lease_token IS NOT NULL)", name="running_is_leased"),
        {"postgresql_with": ROOM_FOR_UPDATES},
    )

    id: Mapped[Id]
    tenant_id: Mapped[TenantId]
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    kind: Mapped[str]
    queue: Mapped[str]
    state: Mapped[str]
    size: Mapped[int]
    cursor: Mapped[int] = mapped_column(server_default="0")
    payload: Mapped[Json]
    attempts: Mapped[int] = mapped_column(server_default="0")
    batch_limit: Mapped[int | None]
    lease_token: Mapped[UUID | None]
    lease_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    not_before: Mapped[Timestamp] = mapped_column(server_default=func.now())
    worker: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class WorkerRow(Base):
    """A worker's latest sign of life."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(primary_key=True)
    queues: Mapped[Texts]
    device: Mapped[str]
    pid: Mapped[int]
    host: Mapped[str]
    started_at: Mapped[CreatedAt]
    beat_at: Mapped[Timestamp]
