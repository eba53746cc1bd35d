"""Galleries, images and blobs."""

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, SmallInteger, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Attributes, Device, ImageState
from storage.tables.base import Base, CreatedAt, Id, Json, TenantId, Timestamp, one_of


class GalleryRow(Base):
    """A named collection of images. The name is free again as soon as deletion has begun."""

    __tablename__ = "galleries"
    __table_args__ = (
        Index("uq_galleries_tenant_id_name", "tenant_id", "name", unique=True, postgresql_where=text("NOT deleting")),
        one_of("device", Device),
    )

    id: Mapped[Id]
    tenant_id: Mapped[TenantId]
    name: Mapped[str]
    encoder: Mapped[str]
    device: Mapped[str]
    attributes_schema: Mapped[Json]
    # Deferred: a gallery and its first generation name each other and arrive in one transaction.
    active_index_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("indexes.id", use_alter=True, ondelete="SET NULL", deferrable=True, initially="DEFERRED")
    )
    deleting: Mapped[bool] = mapped_column(server_default="false")
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]


class GalleryCountRow(Base):
    """Images of a gallery, as a sum over slots, so that concurrent batches do not queue up for one row."""

    __tablename__ = "gallery_counts"

    gallery_id: Mapped[UUID] = mapped_column(ForeignKey("galleries.id", ondelete="CASCADE"), primary_key=True)
    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    images: Mapped[int] = mapped_column(BigInteger)


class ImageRow(Base):
    """An image of a gallery. It refers to its blob, so that no GC can take the picture from under it."""

    __tablename__ = "images"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "sha256"], ["blobs.tenant_id", "blobs.sha256"]),
        Index("uq_images_gallery_id_external_id", "gallery_id", "external_id", unique=True),
        Index(None, "gallery_id", "id"),
        Index(None, "tenant_id", "sha256"),
        Index(None, "attributes", postgresql_using="gin", postgresql_ops={"attributes": "jsonb_path_ops"}),
        one_of("state", ImageState),
        {"postgresql_with": {"fillfactor": 85}},
    )

    id: Mapped[Id]
    tenant_id: Mapped[UUID]
    gallery_id: Mapped[UUID] = mapped_column(ForeignKey("galleries.id", ondelete="CASCADE"))
    external_id: Mapped[str]
    sha256: Mapped[str]
    media_type: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    attributes: Mapped[Attributes] = mapped_column(JSONB)
    state: Mapped[str]
    # No foreign key: images outlive the jobs that wrote them.
    last_job_id: Mapped[UUID]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]


class BlobRow(Base):
    """A picture in the bucket. Condemned: nothing referred to it, so its object may be gone already.

    No index has `touched_at`, so that touching costs none of them an update.
    """

    __tablename__ = "blobs"
    __table_args__ = (
        Index("ix_blobs_condemned", "tenant_id", "sha256", postgresql_where=text("condemned")),
        CheckConstraint("length(sha256) = 64", name="sha256"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    sha256: Mapped[str] = mapped_column(primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int]
    height: Mapped[int]
    media_type: Mapped[str]
    touched_at: Mapped[Timestamp]
    phash: Mapped[int | None] = mapped_column(BigInteger)
    tint: Mapped[int | None]
    condemned: Mapped[bool] = mapped_column(server_default="false")
