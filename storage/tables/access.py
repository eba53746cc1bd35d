"""Tenants, their API keys, and replayable first responses."""

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Scope
from storage.tables.base import Base, CreatedAt, Id, Json, TenantId, Texts

_SCOPES = ", ".join(f"'{scope}'" for scope in Scope)


class TenantRow(Base):
    """Whom every other row belongs to."""

    __tablename__ = "tenants"
    __table_args__ = (UniqueConstraint("name"), CheckConstraint("max_images >= 0", name="max_images"))

    id: Mapped[Id]
    name: Mapped[str]
    created_at: Mapped[CreatedAt]
    # Stored as it is: it signs what goes out, and opens nothing here.
    webhook_secret: Mapped[str | None]
    # Null: the operator's default; 0: as many as they like.
    max_images: Mapped[int | None] = mapped_column(BigInteger)


class ApiKeyRow(Base):
    """A key's SHA-256 in hex; the key itself is stored nowhere."""

    __tablename__ = "api_keys"
    __table_args__ = (
        UniqueConstraint("key_sha256"),
        Index(None, "tenant_id"),
        CheckConstraint(f"scopes <@ ARRAY[{_SCOPES}]", name="scopes"),
        CheckConstraint("requests_per_minute >= 0", name="requests_per_minute"),
    )

    id: Mapped[Id]
    tenant_id: Mapped[TenantId]
    key_sha256: Mapped[str]
    scopes: Mapped[Texts]
    label: Mapped[str]
    created_at: Mapped[CreatedAt]
    # Null: the operator's default; 0: as many as they like.
    requests_per_minute: Mapped[int | None]


class IdempotencyKeyRow(Base):
    """The first response to a request, or, while `status` is null, the reservation of the request that is running.

    `created_at` moves on for as long as that request shows that it lives.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index(None, "created_at"),)

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    status: Mapped[int | None]
    body: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    headers: Mapped[Json] = mapped_column(server_default="{}")
    created_at: Mapped[CreatedAt]
