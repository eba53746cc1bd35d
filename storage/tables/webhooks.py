"""Deliveries of webhooks."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.models import DeliveryState
from storage.tables.base import Base, CreatedAt, Timestamp, one_of


class DeliveryRow(Base):
    """The news of a job's end. Its address is the job's `callback_url`."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("ix_webhook_deliveries_due", "due_at", postgresql_where=text("state = 'pending'")),
        one_of("state", DeliveryState),
    )

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    state: Mapped[str]
    attempts: Mapped[int] = mapped_column(server_default="0")
    due_at: Mapped[Timestamp]
    status: Mapped[int | None]
    error: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
