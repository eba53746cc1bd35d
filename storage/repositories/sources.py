"""Remote versions of pictures, and announced uploads."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from core.models import RemoteVersion, Upload
from storage.arrays import any_id, any_text
from storage.repositories.deletions import delete_some
from storage.tables import SourceRow, UploadRow
from storage.text import storable
from storage.transaction import Transaction

_REMEMBER = text("""
    INSERT INTO sources AS stored (gallery_id, external_id, url, etag, last_modified, sha256, seen_at)
    SELECT :gallery_id, external_id, url, etag, last_modified, sha256, now()
    FROM unnest(
        CAST(:external_ids AS text[]), CAST(:urls AS text[]), CAST(:etags AS text[]), CAST(:last_modifieds AS text[]),
        CAST(:sha256s AS text[])) AS seen (external_id, url, etag, last_modified, sha256)
    ORDER BY external_id
    ON CONFLICT (gallery_id, external_id) DO UPDATE SET
        url = excluded.url, etag = excluded.etag, last_modified = excluded.last_modified, sha256 = excluded.sha256,
        seen_at = excluded.seen_at
    WHERE (stored.url, stored.etag, stored.last_modified, stored.sha256)
        IS DISTINCT FROM (excluded.url, excluded.etag, excluded.last_modified, excluded.sha256)
""")

_FORGET_ORPHANS = delete_some(
    "sources",
    key=("gallery_id", "external_id"),
    where="""seen_at < :before AND NOT EXISTS (
        SELECT FROM images
        WHERE images.gallery_id = sources.gallery_id AND images.external_id = sources.external_id)""",
    order_by="gallery_id, external_id",
)


class SqlRemoteVersions:
    """Implements `core.ports.RemoteVersions`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def known(self, gallery_id: UUID, external_ids: Sequence[str]) -> dict[str, RemoteVersion]:
        """By external id, those that are known."""
        asked = [external_id for external_id in external_ids if storable(external_id)]
        statement = select(
            SourceRow.external_id, SourceRow.url, SourceRow.etag, SourceRow.last_modified, SourceRow.sha256
        ).where(SourceRow.gallery_id == gallery_id, SourceRow.external_id == any_text(asked))
        return {external_id: RemoteVersion(*rest) for external_id, *rest in self._transaction.execute(statement)}

    def remember(self, gallery_id: UUID, versions: Mapping[str, RemoteVersion]) -> None:
        """Store the versions by external id; what is stored already is not written again."""
        if not versions:
            return
        seen = list(versions.values())
        columns = {
            "external_ids": list(versions),
            "urls": [one.url for one in seen],
            "etags": [one.etag for one in seen],
            "last_modifieds": [one.last_modified for one in seen],
            "sha256s": [one.sha256 for one in seen],
        }
        self._transaction.execute(_REMEMBER, {"gallery_id": gallery_id, **columns})

    def forget_orphans(self, *, before: datetime, limit: int) -> int:
        """Delete versions noted before that moment whose image is gone; returns how many."""
        return self._transaction.execute(_FORGET_ORPHANS, {"before": before, "limit": limit}).rowcount


_COLUMNS = (
    UploadRow.id,
    UploadRow.tenant_id,
    UploadRow.gallery_id,
    UploadRow.object_key,
    UploadRow.filename,
    UploadRow.size_bytes,
    UploadRow.sha256,
    UploadRow.expires_at,
)


_KEEP_WITH = text("""
    UPDATE uploads SET expires_at = greatest(uploads.expires_at, jobs.expires_at)
    FROM jobs, jsonb_array_elements_text(jobs.params -> 'upload_ids') AS taken (upload_id)
    WHERE jobs.id = :job_id AND uploads.id = CAST(taken.upload_id AS uuid)
""")


class SqlUploads:
    """Implements `core.ports.Uploads`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, uploads: Sequence[Upload]) -> None:
        """Insert."""
        rows = [
            {
                "id": upload.id,
                "tenant_id": upload.tenant_id,
                "gallery_id": upload.gallery_id,
                "object_key": upload.key,
                "filename": upload.filename,
                "size_bytes": upload.size_bytes,
                "sha256": upload.sha256,
                "expires_at": upload.expires_at,
            }
            for upload in uploads
        ]
        self._transaction.execute(insert(UploadRow), rows)

    def find(self, gallery_id: UUID, upload_ids: Sequence[UUID]) -> dict[UUID, Upload]:
        """Those of the ids that are the gallery's, locked until the transaction ends."""
        statement = (
            select(*_COLUMNS)
            .where(UploadRow.gallery_id == gallery_id, UploadRow.id == any_id(upload_ids))
            .order_by(UploadRow.id)
            .with_for_update()
        )
        return {row.id: Upload(*row) for row in self._transaction.execute(statement)}

    def keep(self, upload_ids: Sequence[UUID], *, until: datetime) -> None:
        """Put off their expiry; never brings it forward."""
        later = func.greatest(UploadRow.expires_at, until)
        self._transaction.execute(update(UploadRow).where(UploadRow.id == any_id(upload_ids)).values(expires_at=later))

    def keep_with(self, job_id: UUID) -> None:
        """Put off the expiry of those that the job names in `upload_ids` to that of the job."""
        self._transaction.execute(_KEEP_WITH, {"job_id": job_id})

    def expired(self, now: datetime, *, limit: int) -> tuple[Upload, ...]:
        """Uploads past their `expires_at`, locked: an import that wants one waits, and then does not find it."""
        statement = select(*_COLUMNS).where(UploadRow.expires_at < now).order_by(UploadRow.expires_at).limit(limit)
        return tuple(Upload(*row) for row in self._transaction.execute(statement.with_for_update(skip_locked=True)))

    def remove(self, upload_ids: Sequence[UUID]) -> None:
        """Delete rows."""
        self._transaction.execute(delete(UploadRow).where(UploadRow.id == any_id(upload_ids)))
