"""Buckets beside the service's own, on the same S3 server: catalogs that are already there."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import urllib3
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from core.errors import InvalidInputError, ItemError, NotFoundError, UnavailableError
from core.models import BucketObject
from core.ports import Fetch, Fetched, NotModified, Validators
from core.settings import MEBIBYTE, Settings
from storage.objects import s3_client

_ABSENT = frozenset({"NoSuchKey", "NoSuchObject", "ResourceNotFound"})
_CLOSED = frozenset({"NoSuchBucket", "AccessDenied", "AllAccessDisabled", "InvalidBucketName"})


class S3SourceBuckets:
    """Implements `core.ports.SourceBuckets`. Nothing is asked of the server before the first call."""

    def __init__(self, settings: Settings) -> None:
        self._client = s3_client(settings, settings.s3_endpoint)

    def objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[BucketObject]:
        """Objects under a prefix, by key, page by page; InvalidInputError when the bucket is absent or closed to us."""
        try:
            with _translated():
                for found in self._client.list_objects(bucket, prefix, recursive=True, start_after=after or None):
                    if found.object_name and not found.is_dir:
                        yield BucketObject(found.object_name, found.size or 0, (found.etag or "").strip('"'))
        except (ItemError, NotFoundError) as error:
            detail = f"The bucket {bucket} cannot be listed: it is not there, or the service's key may not read it."
            raise InvalidInputError(detail) from error

    def read(self, bucket: str, key: str, *, max_bytes: int, known_etag: str = "") -> Fetch:
        """The object, or NotModified when it still has `known_etag`."""
        asked: dict[str, str | list[str] | tuple[str]] | None = (
            {"If-None-Match": f'"{known_etag}"'} if known_etag else None
        )
        shown = f"s3://{bucket}/{key}"
        try:
            with _translated():
                response = self._client.get_object(bucket, key, request_headers=asked)
                try:
                    return _read(response, shown, max_bytes=max_bytes, known_etag=known_etag)
                finally:
                    response.close()
                    response.release_conn()
        except _UnchangedError:
            return NotModified()
        except NotFoundError as error:
            raise ItemError("object_not_found", f"There is no object {shown!r}: check its key.") from error


class _UnchangedError(Exception):
    """The server answered 304."""


def _read(response: urllib3.BaseHTTPResponse, shown: str, *, max_bytes: int, known_etag: str) -> Fetch:
    etag = response.headers.get("ETag", "").strip('"')
    if known_etag and etag == known_etag:
        return NotModified()  # some servers send the object nevertheless
    if int(response.headers.get("Content-Length") or 0) > max_bytes:
        raise ItemError(
            "file_too_large", f"{shown!r} has more than {max_bytes // MEBIBYTE} MiB: store a smaller version."
        )
    media_type = response.headers.get("Content-Type", "")
    return Fetched(shown, response.read(), media_type, Validators(etag=etag))


@contextmanager
def _translated() -> Iterator[None]:
    """Absent and closed are final; all else that S3 refuses may pass by itself."""
    try:
        yield
    except ServerError as error:
        if error.status_code == HTTPStatus.NOT_MODIFIED:
            raise _UnchangedError from error
        raise _unavailable() from error
    except (MinioException, urllib3.exceptions.HTTPError, ValueError) as error:
        code = _code(error)
        if code in _ABSENT:
            raise NotFoundError("The object is not in the bucket.") from error
        if code in _CLOSED:
            detail = "The bucket is not there, or the service's key may not read it: ask the operator."
            raise ItemError("bucket_denied", detail) from error
        raise _unavailable() from error


def _code(error: Exception) -> str:
    """S3's error code; the client refuses impossible bucket names by itself, and quotes answers of odd media types."""
    if isinstance(error, ValueError):
        return "InvalidBucketName"
    if isinstance(error, S3Error):
        return str(error.code)
    known = (code for code in _ABSENT | _CLOSED if isinstance(error, InvalidResponseError) and code in str(error))
    return next(known, "")


def _unavailable() -> UnavailableError:
    return UnavailableError("The object store does not answer as it should; try again in a moment.")
