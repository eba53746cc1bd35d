"""`s3://` addresses, and which of them a tenant may import from: only what the operator listed in settings."""

from dataclasses import dataclass

from core.errors import ItemError
from core.settings import Settings

SCHEME = "s3://"
EVERY_TENANT = "*"
_MAX_KEY_BYTES = 1024


@dataclass(frozen=True, slots=True)
class S3Address:
    """An object, or a prefix of objects, of a bucket."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


def is_s3(text: str) -> bool:
    """Whether the text is meant as such an address."""
    return text.lower().startswith(SCHEME)


def parse_s3(text: str) -> S3Address:
    """`s3://bucket/key`; the key is taken literally, and may be empty. ItemError `bad_url` when it is none."""
    bucket, _, key = text[len(SCHEME) :].partition("/")
    parts = key.split("/")
    if not is_s3(text) or not bucket or not bucket.isascii() or not bucket.isprintable() or " " in bucket:
        raise ItemError("bad_url", f"{text[:200]!r} is not an S3 address: write s3://bucket/key.")
    # On servers that keep objects as files, such parts could lead out of the prefix.
    if "." in parts or ".." in parts or len(key.encode(errors="replace")) > _MAX_KEY_BYTES or not key.isprintable():
        raise ItemError("bad_url", f"{text[:200]!r} is not a usable S3 key: no `.` or `..` parts, at most 1024 bytes.")
    return S3Address(bucket, key)


@dataclass(frozen=True, slots=True)
class ImportPrefixes:
    """What one tenant may read. A prefix ends at a slash, so that `shop` does not open `shop-secrets`."""

    allowed: tuple[S3Address, ...]

    def check(self, address: S3Address) -> None:
        """ItemError `bucket_refused` unless the address lies under an allowed prefix."""
        if not any(address.bucket == one.bucket and address.key.startswith(one.key) for one in self.allowed):
            raise ItemError(
                "bucket_refused",
                f"{str(address)[:200]!r} is not open to imports: the operator lists what each tenant may read in "
                "SETR_IMPORT_PREFIXES.",
            )


def import_prefixes(settings: Settings, tenant: str) -> ImportPrefixes:
    """What a tenant of that name may read; never the service's own bucket, which holds everybody's pictures."""
    listed = [*settings.import_prefixes.get(tenant, ()), *settings.import_prefixes.get(EVERY_TENANT, ())]
    addresses = [parse_s3(text) for text in listed]
    closed = [_closed(address) for address in addresses if address.bucket != settings.s3_bucket]
    return ImportPrefixes(tuple(closed))


def _closed(address: S3Address) -> S3Address:
    key = address.key if not address.key or address.key.endswith("/") else f"{address.key}/"
    return S3Address(address.bucket, key)
