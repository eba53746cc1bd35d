"""Galleries."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.errors import UniqueViolation
from sqlalchemy import BindParameter, Row, Select, Uuid, bindparam, delete, func, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from core.errors import ConflictError, NotFoundError
from core.models import Device, Gallery, Index, Page
from storage.repositories.paging import page_of, unknown_key
from storage.tables import GalleryCountRow, GalleryRow
from storage.text import storable
from storage.transaction import Transaction

_IMAGE_COUNT = (
    select(func.coalesce(func.sum(GalleryCountRow.images), 0))
    .where(GalleryCountRow.gallery_id == GalleryRow.id)
    .scalar_subquery()
)


_FORSAKEN = text("""
    galleries.deleting AND NOT EXISTS (
        SELECT FROM jobs
        WHERE jobs.tenant_id = galleries.tenant_id AND jobs.kind = 'delete' AND jobs.gallery_id = galleries.id
            AND (finished_at IS NULL OR finished_at > :before))
""")


class SqlGalleries:
    """Implements `core.ports.Galleries`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, gallery: Gallery) -> None:
        """Insert. ConflictError when the tenant already has that name."""
        insertion = insert(GalleryRow).values(
            id=gallery.id,
            tenant_id=gallery.tenant_id,
            name=gallery.name,
            encoder=gallery.encoder,
            device=gallery.device.value,
            attributes_schema=gallery.attributes_schema,
            active_index_id=gallery.active_index_id,
            deleting=gallery.deleting,
            version=gallery.version,
            created_at=gallery.created_at,
            updated_at=gallery.updated_at,
        )
        added = self._transaction.execute(
            insertion.on_conflict_do_nothing(
                index_elements=[GalleryRow.tenant_id, GalleryRow.name], index_where=~GalleryRow.deleting
            ).returning(GalleryRow.id)
        )
        if added.one_or_none() is None:
            raise _name_taken(gallery.name)

    def get(self, tenant_id: UUID, name: str, *, lock: bool = False) -> Gallery | None:
        """The gallery, unless missing or being deleted; with `lock`, its row locked until the transaction ends."""
        if not storable(name):
            return None
        return self._one(_GET_LOCKED if lock else _GET, {"tenant_id": tenant_id, "name": name})

    def by_id(self, gallery_id: UUID) -> Gallery | None:
        """The gallery, also while it is being deleted."""
        return self._one(_BY_ID, {"id": gallery_id})

    def page(self, tenant_id: UUID, *, size: int, after: str | None) -> Page[Gallery]:
        """By name, keyset."""
        statement = _live(tenant_id).order_by(GalleryRow.name).limit(size + 1)
        if after is not None:
            if not storable(after):
                raise unknown_key()
            statement = statement.where(GalleryRow.name > after)
        rows = self._transaction.execute(statement).all()
        return page_of([_gallery(row) for row in rows], size, lambda gallery: gallery.name)

    def images_of(self, tenant_id: UUID) -> int:
        """Images in all galleries of the tenant, but for those that are being deleted."""
        statement = (
            select(func.coalesce(func.sum(GalleryCountRow.images), 0))
            .join(GalleryRow, GalleryRow.id == GalleryCountRow.gallery_id)
            .where(GalleryRow.tenant_id == tenant_id, ~GalleryRow.deleting)
        )
        return int(self._transaction.execute(statement).scalar_one())

    def update(self, gallery: Gallery) -> None:
        """Write name, encoder, device, attributes_schema, active_index_id, deleting; bumps `version`.

        `deleting` is never taken back. ConflictError when the name is taken, NotFoundError when the gallery is gone.
        """
        statement = (
            update(GalleryRow)
            .where(GalleryRow.id == gallery.id)
            .values(
                name=gallery.name,
                encoder=gallery.encoder,
                device=gallery.device.value,
                attributes_schema=gallery.attributes_schema,
                active_index_id=gallery.active_index_id,
                deleting=or_(GalleryRow.deleting, literal(gallery.deleting)),
                version=GalleryRow.version + 1,
                updated_at=func.now(),
            )
        )
        try:
            updated = self._transaction.execute(statement)
        except IntegrityError as error:
            if isinstance(error.orig, UniqueViolation):
                raise _name_taken(gallery.name) from error
            raise
        if updated.rowcount == 0:
            raise NotFoundError("The gallery was deleted meanwhile.")

    def set_active(self, gallery_id: UUID, index: Index) -> None:
        """Let that generation answer from now on; nothing else of the gallery is written but `version`.

        NotFoundError when the gallery is gone.
        """
        statement = (
            update(GalleryRow)
            .where(GalleryRow.id == gallery_id)
            .values(
                active_index_id=index.id,
                encoder=index.encoder,
                version=GalleryRow.version + 1,
                updated_at=func.now(),
            )
        )
        if self._transaction.execute(statement).rowcount == 0:
            raise NotFoundError("The gallery was deleted meanwhile.")

    def forsaken(self, *, before: datetime, limit: int) -> tuple[Gallery, ...]:
        """Galleries that are being deleted, but by no job: none is open, and none ended after `before`."""
        statement = _select().where(_FORSAKEN.bindparams(before=before)).order_by(GalleryRow.id).limit(limit)
        return tuple(map(_gallery, self._transaction.execute(statement)))

    def remove(self, gallery_id: UUID) -> None:
        """Delete the row with its images, indexes and concepts (vector tables are dropped by the caller)."""
        self._transaction.execute(delete(GalleryRow).where(GalleryRow.id == gallery_id))

    def _one(self, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]) -> Gallery | None:
        row = self._transaction.execute(statement, parameters).one_or_none()
        return None if row is None else _gallery(row)


def _select() -> Select[*tuple[Any, ...]]:
    """In the order of Gallery's fields."""
    return select(
        GalleryRow.id,
        GalleryRow.tenant_id,
        GalleryRow.name,
        GalleryRow.encoder,
        GalleryRow.device,
        GalleryRow.attributes_schema,
        GalleryRow.active_index_id,
        GalleryRow.version,
        _IMAGE_COUNT.label("image_count"),
        GalleryRow.created_at,
        GalleryRow.updated_at,
        GalleryRow.deleting,
    )


def _live(tenant_id: UUID | BindParameter[UUID]) -> Select[*tuple[Any, ...]]:
    return _select().where(GalleryRow.tenant_id == tenant_id, ~GalleryRow.deleting)


# Every request runs one of them, so they are put together once.
_GET = _live(bindparam("tenant_id", type_=Uuid)).where(GalleryRow.name == bindparam("name"))
_GET_LOCKED = _GET.with_for_update()
_BY_ID = _select().where(GalleryRow.id == bindparam("id"))


def _gallery(row: Row[*tuple[Any, ...]]) -> Gallery:
    return Gallery(
        id=row.id,
        tenant_id=row.tenant_id,
        name=row.name,
        encoder=row.encoder,
        device=Device(row.device),
        attributes_schema=row.attributes_schema,
        active_index_id=row.active_index_id,
        version=row.version,
        image_count=int(row.image_count),
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleting=row.deleting,
    )


def _name_taken(name: str) -> ConflictError:
    return ConflictError(f"A gallery named {name!r} exists already; choose another name.")
