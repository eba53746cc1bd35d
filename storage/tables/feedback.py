"""Judgements of results."""

from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables.base import Base, Id, TenantId, Timestamp


class FeedbackRow(Base):
    """Whether an image answers a query. External ids, and no foreign keys to job or images: they may go, this stays."""

    __tablename__ = "feedback"
    __table_args__ = (UniqueConstraint("job_id", "external_id"), Index(None, "gallery_id", "id"))

    id: Mapped[Id]
    tenant_id: Mapped[TenantId]
    gallery_id: Mapped[UUID] = mapped_column(ForeignKey("galleries.id", ondelete="CASCADE"))
    job_id: Mapped[UUID]
    external_id: Mapped[str]
    reference: Mapped[str | None]
    text: Mapped[str | None]
    relevant: Mapped[bool]
    judged_at: Mapped[Timestamp]
