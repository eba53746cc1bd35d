"""Which pictures the bucket holds."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from core.models import Blob
from storage.transaction import Transaction

_TOUCH = text("""
    WITH locked AS (
        SELECT sha256 FROM blobs
        WHERE tenant_id = :tenant_id AND sha256 = ANY (CAST(:sha256s AS text[]))
        ORDER BY sha256 FOR NO KEY UPDATE
    )
    UPDATE blobs SET touched_at = now()
    FROM locked WHERE blobs.tenant_id = :tenant_id AND blobs.sha256 = locked.sha256
    RETURNING blobs.sha256, size_bytes, width, height, media_type
""")

_ADD = text("""
    INSERT INTO blobs (tenant_id, sha256, size_bytes, width, height, media_type, touched_at)
    SELECT DISTINCT ON (sha256) :tenant_id, sha256, size_bytes, width, height, media_type, now()
    FROM unnest(
        CAST(:sha256s AS text[]), CAST(:sizes AS bigint[]), CAST(:widths AS int[]), CAST(:heights AS int[]),
        CAST(:media_types AS text[])) AS blob (sha256, size_bytes, width, height, media_type)
    ORDER BY sha256
    ON CONFLICT (tenant_id, sha256) DO UPDATE SET touched_at = excluded.touched_at
""")


class SqlBlobs:
    """Implements `core.ports.Blobs`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def touch(self, tenant_id: UUID, sha256s: Sequence[str]) -> dict[str, Blob]:
        """Lock and touch those that are there, so that no GC takes them; returns them."""
        rows = self._transaction.execute(_TOUCH, {"tenant_id": tenant_id, "sha256s": list(sha256s)})
        return {row.sha256: Blob(*row) for row in rows}

    def add(self, tenant_id: UUID, blobs: Sequence[Blob]) -> None:
        """Insert or touch, in sha256 order."""
        columns = {
            "sha256s": [blob.sha256 for blob in blobs],
            "sizes": [blob.size_bytes for blob in blobs],
            "widths": [blob.width for blob in blobs],
            "heights": [blob.height for blob in blobs],
            "media_types": [blob.media_type for blob in blobs],
        }
        self._transaction.execute(_ADD, {"tenant_id": tenant_id, **columns})
