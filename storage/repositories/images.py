"""Image rows."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Row, Select, Uuid, any_, bindparam, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY

from core.errors import NotFoundError
from core.filters import Filter
from core.ids import new_id
from core.models import Attributes, Blob, Gallery, Image, ImageDraft, ImageState, Outcome, Page
from core.ports import Fingerprints, StoredImage, Traits, Written
from storage.arrays import any_id, any_text
from storage.filters import predicate
from storage.repositories.paging import id_key, page_of
from storage.tables import ImageRow
from storage.text import storable
from storage.transaction import Transaction

# Sorted by the database itself, so that all writers lock rows in one and the same order.
_UPSERT = text("""
    INSERT INTO images AS stored (
        id, tenant_id, gallery_id, external_id, sha256, media_type, width, height, size_bytes, attributes, state,
        last_job_id)
    SELECT id, :tenant_id, :gallery_id, external_id, sha256, media_type, width, height, size_bytes,
        CAST(attributes AS jsonb), 'ready', :job_id
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:external_ids AS text[]), CAST(:sha256s AS text[]), CAST(:media_types AS text[]),
        CAST(:widths AS int[]), CAST(:heights AS int[]), CAST(:sizes AS bigint[]), CAST(:attributes AS text[]))
        AS draft (id, external_id, sha256, media_type, width, height, size_bytes, attributes)
    ORDER BY external_id
    ON CONFLICT (gallery_id, external_id) DO UPDATE SET
        sha256 = excluded.sha256, media_type = excluded.media_type, width = excluded.width, height = excluded.height,
        size_bytes = excluded.size_bytes, attributes = excluded.attributes, state = excluded.state,
        last_job_id = excluded.last_job_id, version = stored.version + 1, updated_at = now()
    WHERE stored.last_job_id <= excluded.last_job_id
    RETURNING id, external_id, xmax = 0 AS created
""")

_LOCK_OLDER = text("""
    SELECT id, external_id FROM images
    WHERE gallery_id = :gallery_id AND external_id = ANY (CAST(:external_ids AS text[])) AND last_job_id <= :job_id
    ORDER BY external_id FOR NO KEY UPDATE
""")

_LOCK_CONTENTS = text("""
    SELECT id, sha256 FROM images
    WHERE gallery_id = :gallery_id AND id = ANY (CAST(:image_ids AS uuid[])) ORDER BY external_id FOR SHARE
""")

_SET_ATTRIBUTES = text("""
    UPDATE images SET
        attributes = CAST(new.attributes AS jsonb), last_job_id = :job_id, version = version + 1, updated_at = now()
    FROM unnest(CAST(:ids AS uuid[]), CAST(:attributes AS text[])) AS new (id, attributes)
    WHERE images.id = new.id
""")

_CLAIM = text("""
    WITH mine AS (
        SELECT images.id FROM images
        JOIN unnest(CAST(:external_ids AS text[]), CAST(:versions AS int[])) AS seen (external_id, version)
            ON seen.external_id = images.external_id
        WHERE gallery_id = :gallery_id AND images.version = seen.version AND last_job_id <= :job_id
        ORDER BY images.external_id FOR NO KEY UPDATE OF images)
    UPDATE images SET last_job_id = :job_id FROM mine WHERE images.id = mine.id RETURNING external_id
""")

_REMOVE_OLDER = text("""
    WITH older AS (
        SELECT id FROM images
        WHERE gallery_id = :gallery_id AND external_id = ANY (CAST(:external_ids AS text[])) AND last_job_id <= :job_id
        ORDER BY external_id FOR UPDATE)
    DELETE FROM images USING older WHERE images.id = older.id RETURNING external_id, images.id
""")

_UNNAMED = """
    FROM images
    WHERE gallery_id = :gallery_id AND last_job_id < :job_id AND external_id > :after
        AND NOT EXISTS (
            SELECT FROM job_items WHERE job_items.job_id = :job_id AND job_items.external_id = images.external_id)
"""
_COUNT_UNNAMED = text(f"SELECT count(*) {_UNNAMED}")
_LIST_UNNAMED = text(f"SELECT external_id {_UNNAMED} ORDER BY external_id LIMIT :limit")

# A backend stays in one slot, so that it never waits for itself, and rarely for another.
_COUNT = text("""
    INSERT INTO gallery_counts AS stored (gallery_id, slot, images)
    VALUES (:gallery_id, pg_backend_pid() % 16, :change)
    ON CONFLICT (gallery_id, slot) DO UPDATE SET images = stored.images + excluded.images
""")

_FINGERPRINTS = text("""
    SELECT images.id, coalesce(phash, hashtextextended(images.sha256, 0)) AS phash, coalesce(tint, 0) AS tint
    FROM images JOIN blobs USING (tenant_id, sha256)
    WHERE gallery_id = :gallery_id ORDER BY images.id
""")

_TRAITS = text("""
    SELECT
        images.id, attributes -> CAST(:attribute AS text) AS value,
        coalesce(phash, hashtextextended(images.sha256, 0)) AS phash, coalesce(tint, 0) AS tint
    FROM images JOIN blobs USING (tenant_id, sha256)
    WHERE images.id = ANY(CAST(:image_ids AS uuid[]))
""")

_BOUNDARIES = text("""
    SELECT id, (number - 1) % :every + 1 AS images FROM (
        SELECT id, row_number() OVER (ORDER BY id) AS number, lead(id) OVER (ORDER BY id) IS NULL AS is_last
        FROM images WHERE gallery_id = :gallery_id
    ) AS numbered
    WHERE number % :every = 0 OR is_last
    ORDER BY number
""")

_TERMS = text("""
    SELECT attribute, term FROM (
        SELECT attribute, term, row_number() OVER (PARTITION BY attribute ORDER BY count(*) DESC, term) AS place
        FROM (SELECT attributes FROM images WHERE gallery_id = :gallery_id ORDER BY id DESC LIMIT :newest) AS recent,
            jsonb_each(attributes) AS pair (attribute, value),
            btrim(regexp_replace(value #>> '{}', '\\s+', ' ', 'g')) AS term
        WHERE jsonb_typeof(value) = 'string' AND term <> ''
            AND length(term) - length(replace(term, ' ', '')) < :max_words
        GROUP BY attribute, term
    ) AS counted
    WHERE place <= :max_values
    ORDER BY attribute, place
""")


class SqlImages:
    """Implements `core.ports.Images`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def get(self, gallery_id: UUID, image_id: UUID, *, lock: bool = False) -> Image | None:
        """One image; with `lock`, its row locked until the transaction ends."""
        return self._one(_GET_LOCKED if lock else _GET, {"gallery_id": gallery_id, "id": image_id})

    def find(self, gallery_id: UUID, external_id: str) -> Image | None:
        """One image by the shop's own id."""
        if not storable(external_id):
            return None
        return self._one(_FIND, {"gallery_id": gallery_id, "external_id": external_id})

    def lock_contents(self, gallery_id: UUID, image_ids: Sequence[UUID]) -> dict[UUID, str]:
        """sha256 of those of the images that exist; nobody changes or deletes them until the transaction ends."""
        asked = {"gallery_id": gallery_id, "image_ids": list(image_ids)}
        return {row.id: row.sha256 for row in self._transaction.execute(_LOCK_CONTENTS, asked)}

    def many(self, image_ids: Sequence[UUID]) -> dict[UUID, Image]:
        """Those of the ids that exist."""
        rows = self._transaction.execute(_MANY, {"ids": list(image_ids)})
        return {row.id: _image(row) for row in rows}

    def current(self, gallery_id: UUID, external_ids: Sequence[str]) -> dict[str, StoredImage]:
        """What is stored now under these external ids."""
        asked = [external_id for external_id in external_ids if storable(external_id)]
        statement = select(
            ImageRow.external_id,
            ImageRow.id,
            ImageRow.sha256,
            ImageRow.attributes,
            ImageRow.last_job_id,
            ImageRow.version,
        ).where(ImageRow.gallery_id == gallery_id, ImageRow.external_id == any_text(asked))
        return {external_id: StoredImage(*rest) for external_id, *rest in self._transaction.execute(statement)}

    def upsert(self, gallery: Gallery, drafts: Sequence[ImageDraft], *, job_id: UUID) -> dict[str, Written]:
        """Insert or update rows, keyed by external_id; those whose last writer is a newer job stay, and are missing.

        Of drafts with the same external_id the last one is written. Their blobs were added before.
        """
        rows = list({draft.external_id: draft for draft in drafts}.values())
        parameters = _columns(rows) | {"tenant_id": gallery.tenant_id, "gallery_id": gallery.id, "job_id": job_id}
        written = {
            row.external_id: Written(row.id, Outcome.CREATED if row.created else Outcome.UPDATED)
            for row in self._transaction.execute(_UPSERT, parameters)
        }
        self._count(gallery.id, sum(row.outcome is Outcome.CREATED for row in written.values()))
        return written

    def set_attributes(
        self, gallery_id: UUID, attributes: Mapping[str, Attributes], *, job_id: UUID
    ) -> dict[str, Outcome]:
        """Replace attributes by external_id, nothing else.

        `updated`, or `unchanged` when gone or written by a newer job.
        """
        locked = self._transaction.execute(
            _LOCK_OLDER, {"gallery_id": gallery_id, "external_ids": list(attributes), "job_id": job_id}
        ).all()
        new = [json.dumps(attributes[row.external_id]) for row in locked]
        self._transaction.execute(
            _SET_ATTRIBUTES, {"ids": [row.id for row in locked], "attributes": new, "job_id": job_id}
        )
        return dict.fromkeys(attributes, Outcome.UNCHANGED) | {row.external_id: Outcome.UPDATED for row in locked}

    def claim(self, gallery_id: UUID, versions: Mapping[str, int], *, job_id: UUID) -> frozenset[str]:
        """Make a job the last writer of images, by external_id, that still have these versions; returns whose it is.

        Nothing else of the row changes, nor does any index.
        """
        asked = {"external_ids": list(versions), "versions": list(versions.values())}
        rows = self._transaction.execute(_CLAIM, {"gallery_id": gallery_id, "job_id": job_id, **asked})
        return frozenset(rows.scalars())

    def patch_attributes(self, image_id: UUID, attributes: Attributes) -> Image:
        """Replace one image's attributes (API edit); bumps `version`. NotFoundError when gone."""
        statement = (
            update(ImageRow)
            .where(ImageRow.id == image_id)
            .values(attributes=attributes, version=ImageRow.version + 1, updated_at=func.now())
            .returning(*_COLUMNS)
        )
        row = self._transaction.execute(statement).one_or_none()
        if row is None:
            raise NotFoundError("The image was deleted meanwhile.")
        return _image(row)

    def page(
        self, gallery_id: UUID, *, size: int, after: str | None, where: Filter | None, external_id: str | None
    ) -> Page[Image]:
        """By id, keyset, optionally filtered."""
        if external_id is not None and not storable(external_id):
            return Page(items=(), next_key=None)
        statement = _select().where(ImageRow.gallery_id == gallery_id, predicate(where))
        if external_id is not None:
            statement = statement.where(ImageRow.external_id == external_id)
        if after is not None:
            statement = statement.where(ImageRow.id > id_key(after))
        rows = self._transaction.execute(statement.order_by(ImageRow.id).limit(size + 1)).all()
        return page_of([_image(row) for row in rows], size, lambda image: str(image.id))

    def remove(self, gallery_id: UUID, image_ids: Sequence[UUID]) -> int:
        """Delete rows (their vectors are deleted through `VectorIndex.remove` by the caller)."""
        removed = self._transaction.execute(
            delete(ImageRow).where(ImageRow.gallery_id == gallery_id, ImageRow.id == any_id(image_ids))
        ).rowcount
        self._count(gallery_id, -removed)
        return removed

    def remove_older(self, gallery_id: UUID, external_ids: Sequence[str], *, job_id: UUID) -> dict[str, UUID]:
        """Delete rows whose last writer is no newer job than this one; ids of the deleted ones by external_id."""
        asked = {"gallery_id": gallery_id, "external_ids": list(external_ids), "job_id": job_id}
        removed = {row.external_id: row.id for row in self._transaction.execute(_REMOVE_OLDER, asked)}
        self._count(gallery_id, -len(removed))
        return removed

    def count_written_before(self, gallery_id: UUID, job_id: UUID, *, external_ids: Sequence[str] | None = None) -> int:
        """Images (of these external ids) whose last writer is an older job."""
        statement = (
            select(func.count())
            .select_from(ImageRow)
            .where(ImageRow.gallery_id == gallery_id, ImageRow.last_job_id < job_id)
        )
        if external_ids is not None:
            asked = [external_id for external_id in external_ids if storable(external_id)]
            statement = statement.where(ImageRow.external_id == any_text(asked))
        return int(self._transaction.execute(statement).scalar_one())

    def count_unnamed(self, gallery_id: UUID, job_id: UUID) -> int:
        """Images whose last writer is an older job and which no item of the job names."""
        asked = {"gallery_id": gallery_id, "job_id": job_id, "after": ""}
        return int(self._transaction.execute(_COUNT_UNNAMED, asked).scalar_one())

    def unnamed(self, gallery_id: UUID, job_id: UUID, *, after: str, limit: int) -> tuple[str, ...]:
        """External ids of the same, in their order, those that follow `after`."""
        asked = {"gallery_id": gallery_id, "job_id": job_id, "after": after, "limit": limit}
        return tuple(self._transaction.execute(_LIST_UNNAMED, asked).scalars())

    def count(self, gallery_id: UUID) -> int:
        """Rows of a gallery, counted one by one; `Gallery.image_count` is the same at once."""
        counted: int = self._transaction.execute(
            select(func.count()).select_from(ImageRow).where(ImageRow.gallery_id == gallery_id)
        ).scalar_one()
        return counted

    def boundaries(self, gallery_id: UUID, *, every: int) -> tuple[tuple[UUID, int], ...]:
        """Cut the images, by id, into parts of `every`: the last id of each part and how many images it has."""
        rows = self._transaction.execute(_BOUNDARIES, {"gallery_id": gallery_id, "every": every})
        return tuple((row.id, row.images) for row in rows)

    def fingerprints(self, gallery_id: UUID) -> Fingerprints:
        """What all images of a gallery look like, by id."""
        rows = self._transaction.execute(_FINGERPRINTS, {"gallery_id": gallery_id}).all()
        return Fingerprints(
            ids=tuple(row.id for row in rows),
            phashes=np.fromiter((row.phash for row in rows), np.int64, len(rows)),
            tints=np.fromiter((row.tint for row in rows), np.int64, len(rows)),
        )

    def traits(self, image_ids: Sequence[UUID], attribute: str | None) -> dict[UUID, Traits]:
        """Of those that exist: the attribute's value (None without an attribute), and looks as in `fingerprints`."""
        rows = self._transaction.execute(_TRAITS, {"image_ids": list(image_ids), "attribute": attribute})
        return {row.id: Traits(row.value, row.phash, row.tint) for row in rows}

    def terms(self, gallery_id: UUID, *, max_words: int, max_values: int, newest: int) -> dict[str, tuple[str, ...]]:
        """Distinct string values per attribute, at most `max_words` words each and the `max_values` most frequent.

        Of the `newest` images only. White space is normalised, case is not.
        """
        found: dict[str, list[str]] = {}
        limits = {"gallery_id": gallery_id, "max_words": max_words, "max_values": max_values, "newest": newest}
        for attribute, term in self._transaction.execute(_TERMS, limits):
            found.setdefault(attribute, []).append(term)
        return {attribute: tuple(terms) for attribute, terms in found.items()}

    def _count(self, gallery_id: UUID, change: int) -> None:
        if change:
            self._transaction.execute(_COUNT, {"gallery_id": gallery_id, "change": change})

    def _one(self, statement: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]) -> Image | None:
        row = self._transaction.execute(statement, parameters).one_or_none()
        return None if row is None else _image(row)


_COLUMNS = (
    ImageRow.id,
    ImageRow.tenant_id,
    ImageRow.gallery_id,
    ImageRow.external_id,
    ImageRow.sha256,
    ImageRow.size_bytes,
    ImageRow.width,
    ImageRow.height,
    ImageRow.media_type,
    ImageRow.attributes,
    ImageRow.state,
    ImageRow.last_job_id,
    ImageRow.version,
    ImageRow.created_at,
    ImageRow.updated_at,
)


def _select() -> Select[*tuple[Any, ...]]:
    return select(*_COLUMNS)


# Searches run them, so they are put together once.
_GET = _select().where(ImageRow.gallery_id == bindparam("gallery_id"), ImageRow.id == bindparam("id"))
_GET_LOCKED = _GET.with_for_update()
_FIND = _select().where(
    ImageRow.gallery_id == bindparam("gallery_id"), ImageRow.external_id == bindparam("external_id")
)
_MANY = _select().where(ImageRow.id == any_(bindparam("ids", type_=ARRAY(Uuid))))


def _image(row: Row[*tuple[Any, ...]]) -> Image:
    return Image(
        id=row.id,
        tenant_id=row.tenant_id,
        gallery_id=row.gallery_id,
        external_id=row.external_id,
        blob=Blob(row.sha256, row.size_bytes, row.width, row.height, row.media_type),
        attributes=row.attributes,
        state=ImageState(row.state),
        last_job_id=row.last_job_id,
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _columns(drafts: Sequence[ImageDraft]) -> dict[str, Any]:
    blobs = [draft.blob for draft in drafts]
    return {
        "ids": [new_id() for _ in drafts],
        "external_ids": [draft.external_id for draft in drafts],
        "sha256s": [blob.sha256 for blob in blobs],
        "media_types": [blob.media_type for blob in blobs],
        "widths": [blob.width for blob in blobs],
        "heights": [blob.height for blob in blobs],
        "sizes": [blob.size_bytes for blob in blobs],
        "attributes": [json.dumps(draft.attributes) for draft in drafts],
    }
