"""Generations and their vocabularies. The vectors themselves live in schema `vectors`, see storage/vectors.py."""

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, func
from sqlalchemy.orm import Mapped, mapped_column

from core.models import ConceptKind, IndexState
from storage.tables.base import Base, CreatedAt, Id, TenantId, Timestamp, one_of


class IndexRow(Base):
    """A generation. The encoder's identity (spec to preprocessing) is set once, by the first worker that loads it."""

    __tablename__ = "indexes"
    __table_args__ = (
        Index(None, "gallery_id", "id"),
        one_of("state", IndexState),
        CheckConstraint(
            "num_nulls(spec, architecture, weights_sha256, dim, preprocessing) IN (0, 5)", name="identity_is_whole"
        ),
    )

    id: Mapped[Id]
    tenant_id: Mapped[TenantId]
    gallery_id: Mapped[UUID] = mapped_column(ForeignKey("galleries.id", ondelete="CASCADE"))
    encoder: Mapped[str]
    state: Mapped[str]
    spec: Mapped[str | None]
    architecture: Mapped[str | None]
    weights_sha256: Mapped[str | None]
    dim: Mapped[int | None]
    preprocessing: Mapped[str | None]
    mean: Mapped[bytes | None] = mapped_column(LargeBinary)  # float32, little-endian
    mean_count: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[CreatedAt]
    # Imports write its vectors themselves, instead of owing them.
    in_step: Mapped[bool] = mapped_column(server_default="false")
    # When the state became what it is.
    changed_at: Mapped[Timestamp] = mapped_column(server_default=func.now())


class PendingVectorRow(Base):
    """A vector that a generation is owed: the image has none there. See docs/adr/0021.

    No foreign key to the image: it would lock each image while a generation is planned. Who deletes an image deletes
    these too, and one that slips through is found and dropped when its turn comes.
    """

    __tablename__ = "pending_vectors"

    index_id: Mapped[UUID] = mapped_column(ForeignKey("indexes.id", ondelete="CASCADE"), primary_key=True)
    image_id: Mapped[UUID] = mapped_column(primary_key=True)


class ConceptRow(Base):
    """A term of a vocabulary. `vector` is float32, little-endian: it is read whole, never searched in SQL."""

    __tablename__ = "concepts"
    __table_args__ = (one_of("kind", ConceptKind),)

    index_id: Mapped[UUID] = mapped_column(ForeignKey("indexes.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    term: Mapped[str]
    kind: Mapped[str]
    vector: Mapped[bytes] = mapped_column(LargeBinary)
