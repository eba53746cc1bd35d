"""Which pictures the bucket holds."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from core.models import Blob
from core.ports import BlobRef
from storage.transaction import Transaction

_TOUCH = text("""
    WITH locked AS (
        SELECT sha256 FROM blobs
        WHERE tenant_id = :tenant_id AND sha256 = ANY (CAST(:sha256s AS text[]))
        ORDER BY sha256 FOR NO KEY UPDATE
    )
    UPDATE blobs SET touched_at = now()
    FROM locked WHERE blobs.tenant_id = :tenant_id AND blobs.sha256 = locked.sha256
    RETURNING condemned, blobs.sha256, size_bytes, width, height, media_type
""")

_ADD = text("""
    INSERT INTO blobs AS stored (tenant_id, sha256, size_bytes, width, height, media_type, phash, tint, touched_at)
    SELECT DISTINCT ON (sha256) :tenant_id, sha256, size_bytes, width, height, media_type, phash, tint, now()
    FROM unnest(
        CAST(:sha256s AS text[]), CAST(:sizes AS bigint[]), CAST(:widths AS int[]), CAST(:heights AS int[]),
        CAST(:media_types AS text[]), CAST(:phashes AS bigint[]), CAST(:tints AS int[]))
        AS blob (sha256, size_bytes, width, height, media_type, phash, tint)
    ORDER BY sha256
    ON CONFLICT (tenant_id, sha256) DO UPDATE SET
        touched_at = excluded.touched_at, condemned = false, size_bytes = excluded.size_bytes, width = excluded.width,
        height = excluded.height, media_type = excluded.media_type,
        phash = coalesce(excluded.phash, stored.phash), tint = coalesce(excluded.tint, stored.tint)
""")

# An open import may have found a blob at any time since it was made; an hour allows for clocks that disagree.
_UNUSED = """
    NOT EXISTS (
        SELECT FROM images WHERE images.tenant_id = blobs.tenant_id AND images.sha256 = blobs.sha256)
    AND NOT EXISTS (
        SELECT FROM jobs
        WHERE jobs.tenant_id = blobs.tenant_id AND jobs.kind = 'import' AND jobs.finished_at IS NULL
            AND jobs.created_at <= blobs.touched_at + interval '1 hour')
"""

_CONDEMN = text(f"""
    WITH page AS MATERIALIZED (
        SELECT tenant_id, sha256 FROM blobs
        WHERE (tenant_id, sha256) > (:tenant_id, :sha256) ORDER BY tenant_id, sha256 LIMIT :limit
    ), unused AS (
        SELECT blobs.tenant_id, blobs.sha256 FROM blobs JOIN page USING (tenant_id, sha256)
        WHERE NOT condemned AND touched_at < :before AND {_UNUSED}
        FOR NO KEY UPDATE OF blobs SKIP LOCKED
    ), marked AS (
        UPDATE blobs SET condemned = true FROM unused
        WHERE blobs.tenant_id = unused.tenant_id AND blobs.sha256 = unused.sha256
    )
    SELECT tenant_id, sha256 FROM page ORDER BY tenant_id DESC, sha256 DESC LIMIT 1
""")  # noqa: S608 - our own text

_LOCK_CONDEMNED = text(f"""
    SELECT tenant_id, sha256 FROM blobs
    WHERE condemned AND touched_at < :before AND {_UNUSED}
    ORDER BY tenant_id, sha256 LIMIT :limit FOR UPDATE SKIP LOCKED
""")  # noqa: S608 - our own text

_ADOPT = text("""
    INSERT INTO blobs (tenant_id, sha256, size_bytes, width, height, media_type, touched_at, condemned)
    SELECT :tenant_id, sha256, 0, 0, 0, '', now(), true FROM unnest(CAST(:sha256s AS text[])) AS orphan (sha256)
    ORDER BY sha256 ON CONFLICT DO NOTHING
""")

_REMOVE = text("""
    DELETE FROM blobs
    USING unnest(CAST(:tenant_ids AS uuid[]), CAST(:sha256s AS text[])) AS gone (tenant_id, sha256)
    WHERE blobs.tenant_id = gone.tenant_id AND blobs.sha256 = gone.sha256
""")


class SqlBlobs:
    """Implements `core.ports.Blobs`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def touch(self, tenant_id: UUID, sha256s: Sequence[str]) -> dict[str, Blob]:
        """Lock and touch those that are there, so that no GC takes them; returns them.

        Condemned ones are touched too, but count as absent: they have to be stored and added again.
        """
        rows = self._transaction.execute(_TOUCH, {"tenant_id": tenant_id, "sha256s": list(sha256s)})
        return {row.sha256: Blob(*row[1:]) for row in rows if not row.condemned}

    def add(self, tenant_id: UUID, blobs: Sequence[Blob]) -> None:
        """Insert or touch, in sha256 order; their objects were stored before."""
        columns = {
            "sha256s": [blob.sha256 for blob in blobs],
            "sizes": [blob.size_bytes for blob in blobs],
            "widths": [blob.width for blob in blobs],
            "heights": [blob.height for blob in blobs],
            "media_types": [blob.media_type for blob in blobs],
            "phashes": [blob.phash for blob in blobs],
            "tints": [blob.tint for blob in blobs],
        }
        self._transaction.execute(_ADD, {"tenant_id": tenant_id, **columns})

    def condemn(self, *, before: datetime, after: BlobRef, limit: int) -> BlobRef | None:
        """Condemn what nobody refers to among the `limit` blobs that follow `after`; None past the last one."""
        parameters = {"tenant_id": after.tenant_id, "sha256": after.sha256, "before": before, "limit": limit}
        row = self._transaction.execute(_CONDEMN, parameters).one_or_none()
        return None if row is None else BlobRef(*row)

    def lock_condemned(self, *, before: datetime, limit: int) -> tuple[BlobRef, ...]:
        """Lock condemned blobs that nobody touched since `before`: whoever wants one waits for this transaction."""
        rows = self._transaction.execute(_LOCK_CONDEMNED, {"before": before, "limit": limit})
        return tuple(BlobRef(*row) for row in rows)

    def adopt(self, tenant_id: UUID, sha256s: Sequence[str]) -> int:
        """Condemned rows, touched now, for those that have none; returns how many."""
        return self._transaction.execute(_ADOPT, {"tenant_id": tenant_id, "sha256s": list(sha256s)}).rowcount

    def remove(self, blobs: Sequence[BlobRef]) -> None:
        """Delete rows whose objects are gone."""
        parameters = {
            "tenant_ids": [blob.tenant_id for blob in blobs],
            "sha256s": [blob.sha256 for blob in blobs],
        }
        self._transaction.execute(_REMOVE, parameters)
