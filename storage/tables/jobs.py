"""Jobs, the outcomes of their items, and the candidates of queries."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.models import JobKind, JobStage, JobState, Outcome
from storage.tables.base import ROOM_FOR_UPDATES, Base, CreatedAt, Id, Json, TenantId, Texts, Timestamp, one_of

_DONE = "created + updated + unchanged + deleted + failed + canceled"
TERMINAL_STATES = (JobState.SUCCEEDED, JobState.PARTIALLY_SUCCEEDED, JobState.FAILED, JobState.CANCELED)
_TERMINAL = "state IN (" + ", ".join(f"'{state}'" for state in TERMINAL_STATES) + ")"


class JobRow(Base):
    """A job. The CHECKs are what clients were promised: counters add up, and terminal means that nothing is pending."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index(None, "tenant_id", "id"),
        Index(None, "tenant_id", "kind", "id"),
        Index("ix_jobs_open_by_gallery", "gallery_id", postgresql_where=text("finished_at IS NULL")),
        Index("ix_jobs_cancelling", "id", postgresql_where=text("state = 'cancelling'")),
        Index(None, "deadline_at", postgresql_where=text("deadline_at IS NOT NULL")),
        Index(None, "expires_at", postgresql_where=text("finished_at IS NOT NULL")),
        Index("uq_jobs_tick", "gallery_id", "tick", unique=True, postgresql_where=text("tick IS NOT NULL")),
        one_of("kind", JobKind),
        one_of("state", JobState),
        one_of("stage", JobStage),
        CheckConstraint(f"total >= {_DONE}", name="counts_at_most_total"),
        CheckConstraint(f"({_TERMINAL}) = (finished_at IS NOT NULL)", name="finished_is_terminal"),
        CheckConstraint(f"finished_at IS NULL OR (total IS NOT NULL AND total = {_DONE})", name="finished_adds_up"),
        {"postgresql_with": ROOM_FOR_UPDATES},
    )

    id: Mapped[Id]
    tenant_id: Mapped[TenantId]
    kind: Mapped[str]
    state: Mapped[str]
    stage: Mapped[str]
    # No foreign key, and the name beside it: jobs are kept longer than a gallery may live.
    gallery_id: Mapped[UUID | None]
    gallery_name: Mapped[str | None]
    params: Mapped[Json]
    total: Mapped[int | None]
    created: Mapped[int] = mapped_column(server_default="0")
    updated: Mapped[int] = mapped_column(server_default="0")
    unchanged: Mapped[int] = mapped_column(server_default="0")
    deleted: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    canceled: Mapped[int] = mapped_column(server_default="0")
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    warnings: Mapped[Texts] = mapped_column(server_default="{}")
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[CreatedAt]
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[Timestamp]
    deadline_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    callback_url: Mapped[str | None]
    # Which moment of the gallery's schedule made the job; the job itself does not care.
    tick: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class JobItemRow(Base):
    """An outcome that is not plain success, numbered in order of arrival."""

    __tablename__ = "job_items"
    __table_args__ = (
        Index(None, "job_id", "id"),
        one_of("outcome", Outcome),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    tenant_id: Mapped[UUID]
    external_id: Mapped[str]
    outcome: Mapped[str]
    source: Mapped[str]
    code: Mapped[str]
    detail: Mapped[str]
    # What a retry needs; only failed items have it.
    planned: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[CreatedAt]


class BatchPartRow(Base):
    """An object with answers of a query batch: `lines` of those that begin at `first_line`."""

    __tablename__ = "query_batch_parts"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    first_line: Mapped[int] = mapped_column(primary_key=True)
    part_id: Mapped[UUID] = mapped_column(primary_key=True)
    lines: Mapped[int]


class CandidateRow(Base):
    """A ranked candidate of a query. It names its image without a foreign key: results stay as they were given."""

    __tablename__ = "query_candidates"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    image_id: Mapped[UUID] = mapped_column(primary_key=True)
    external_id: Mapped[str]
    coarse_rank: Mapped[int]
    coarse_score: Mapped[float]
    rank: Mapped[int]
    score: Mapped[float]
    p_yes: Mapped[float | None]
    error: Mapped[str | None]
    group_value: Mapped[Any] = mapped_column(JSONB(none_as_null=True), nullable=True)
    group_images: Mapped[int | None]
    duplicates: Mapped[int | None]
