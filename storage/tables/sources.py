"""Remote versions of pictures, and files announced before they are sent."""

from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables.base import Base, CreatedAt, Id, TenantId, Timestamp


class SourceRow(Base):
    """What was last seen at an image's address. No foreign key to the image, which is written later or not at all."""

    __tablename__ = "sources"
    __table_args__ = (Index(None, "seen_at"),)

    gallery_id: Mapped[UUID] = mapped_column(ForeignKey("galleries.id", ondelete="CASCADE"), primary_key=True)
    external_id: Mapped[str] = mapped_column(primary_key=True)
    url: Mapped[str]
    etag: Mapped[str]
    last_modified: Mapped[str]
    sha256: Mapped[str]
    seen_at: Mapped[CreatedAt]


class UploadRow(Base):
    """A file that a client puts straight into the bucket. Its row outlives its gallery, so that GC finds the object."""

    __tablename__ = "uploads"
    __table_args__ = (Index(None, "expires_at"),)

    id: Mapped[Id]
    tenant_id: Mapped[TenantId]
    gallery_id: Mapped[UUID]
    object_key: Mapped[str]
    filename: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
    expires_at: Mapped[Timestamp]
    created_at: Mapped[CreatedAt]
