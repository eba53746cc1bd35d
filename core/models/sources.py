"""Where pictures come from: versions of remote ones, objects of buckets, and files announced before they are sent."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class RemoteVersion:
    """A fact about an address: under these validators (empty where it gave none) its content was `sha256`."""

    url: str
    etag: str
    last_modified: str
    sha256: str


@dataclass(frozen=True, slots=True)
class BucketObject:
    """An object of a bucket that is not the service's own. `etag` without quotes; it changes with the content."""

    key: str
    size_bytes: int
    etag: str


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a client announced and puts straight into the bucket, under `key`; kept until `expires_at`."""

    id: UUID
    tenant_id: UUID
    gallery_id: UUID
    key: str
    filename: str
    size_bytes: int
    sha256: str | None
    expires_at: datetime
