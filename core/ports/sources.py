"""Remote versions, announced uploads, and buckets that are not the service's own."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from core.models import BucketObject, RemoteVersion, Upload
from core.ports.web import Fetch


class RemoteVersions(Protocol):
    """What was last seen at the addresses of a gallery's images, so that they are fetched again only when changed.

    A version is a fact about an address, true whatever becomes of the image; it counts only while the image's own
    sha256 is the same.
    """

    def known(self, gallery_id: UUID, external_ids: Sequence[str]) -> dict[str, RemoteVersion]:
        """By external id, those that are known."""
        ...

    def remember(self, gallery_id: UUID, versions: Mapping[str, RemoteVersion]) -> None:
        """Store the versions by external id, in that order; what is stored already is not written again."""
        ...

    def forget_orphans(self, *, before: datetime, limit: int) -> int:
        """Delete versions noted before that moment whose image is gone; returns how many."""
        ...


class Uploads(Protocol):
    """Announced uploads. Reading another tenant's or gallery's row is the same as reading none."""

    def add(self, uploads: Sequence[Upload]) -> None:
        """Insert."""
        ...

    def find(self, gallery_id: UUID, upload_ids: Sequence[UUID]) -> dict[UUID, Upload]:
        """Those of the ids that are the gallery's, locked until the transaction ends."""
        ...

    def keep(self, upload_ids: Sequence[UUID], *, until: datetime) -> None:
        """Put off their expiry; never brings it forward."""
        ...

    def keep_with(self, job_id: UUID) -> None:
        """Put off the expiry of those that the job names in `upload_ids` to that of the job."""
        ...

    def expired(self, now: datetime, *, limit: int) -> tuple[Upload, ...]:
        """Uploads past their `expires_at`, locked until the transaction ends; their objects go before the rows do."""
        ...

    def remove(self, upload_ids: Sequence[UUID]) -> None:
        """Delete rows."""
        ...


class SourceBuckets(Protocol):
    """Buckets beside the service's own, on the same S3 server; read only. Whether a tenant may is not asked here."""

    def objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[BucketObject]:
        """Objects under a prefix with keys beyond `after`, by key, asked for page by page while they are read.

        InvalidInputError when the bucket is absent or closed to us.
        """
        ...

    def read(self, bucket: str, key: str, *, max_bytes: int, known_etag: str = "") -> Fetch:
        """The object, or NotModified when it still has `known_etag`.

        ItemError: `object_not_found`, `bucket_denied`, `file_too_large`.
        """
        ...
