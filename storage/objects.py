"""Blobs in one bucket of any S3 server, by plain calls only."""

import io
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO, cast

import urllib3
from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, MinioException, S3Error

from core.errors import NotFoundError, TooLargeError, UnavailableError
from core.settings import Settings

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 30.0
PART_BYTES = 8 * 1024 * 1024  # times the 10 000 parts that S3 allows: objects of up to 78 GiB
READ_BYTES = 256 * 1024
"""What `open` asks for at once: small enough for a ZIP's directory, large enough that a picture takes one request."""

_POOL_SIZE = 32
_SIGNED_URLS = 20_000  # of half a kilobyte
_ABSENT = frozenset({"NoSuchKey", "NoSuchObject", "ResourceNotFound"})


class S3ObjectStore:
    """Implements `core.ports.ObjectStore`. Nothing is asked of the server before the first call."""

    def __init__(self, settings: Settings) -> None:
        self._bucket = settings.s3_bucket
        self._region = settings.s3_region
        self._client = s3_client(settings, settings.s3_endpoint)
        self._public = s3_client(settings, settings.s3_public_endpoint or settings.s3_endpoint)
        self._signed = lru_cache(_SIGNED_URLS)(self._sign)

    def ensure_bucket(self) -> None:
        """Create the bucket when it is missing; safe when called by several processes at once."""
        with _translated():
            if self._client.bucket_exists(self._bucket):
                return
            try:
                self._client.make_bucket(self._bucket, self._region)
            except (S3Error, InvalidResponseError):
                # Another process was faster. Stores say so in different ways, some in answers that minio cannot read.
                if not self._client.bucket_exists(self._bucket):
                    raise

    def put(self, key: str, data: bytes, *, media_type: str) -> None:
        """Store `data`; the same key again overwrites."""
        with _translated():
            self._client.put_object(self._bucket, key, io.BytesIO(data), len(data), content_type=media_type)

    def put_stream(self, key: str, stream: BinaryIO, *, media_type: str) -> int:
        """Store a stream of unknown length by multipart, in constant memory; returns its size in bytes.

        What the stream raises is raised here, and nothing is stored.
        """
        counted = _Counted(stream)
        with _translated():
            self._client.put_object(
                self._bucket,
                key,
                cast(BinaryIO, counted),
                -1,
                content_type=media_type,
                part_size=PART_BYTES,
                num_parallel_uploads=1,  # the client's threads would outlive an upload whose stream breaks off
            )
        return counted.size_bytes

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """The whole object. NotFoundError when there is none, TooLargeError when it has more than `max_bytes`."""
        return self._read(key, max_bytes=max_bytes)

    def open(self, key: str) -> BinaryIO:
        """A seekable, buffered, read-only file over ranged GETs, in constant memory. NotFoundError when absent."""
        with _translated(key):
            size = self._client.stat_object(self._bucket, key).size or 0
        return io.BufferedReader(_Ranged(self, key, size), READ_BYTES)

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        try:
            with _translated(key):
                self._client.stat_object(self._bucket, key)
        except NotFoundError:
            return False
        return True

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; absent ones are no error."""
        with _translated():
            failed = list(self._client.remove_objects(self._bucket, (DeleteObject(key) for key in keys)))
        if any(error.code not in _ABSENT for error in failed):
            raise _unavailable()

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """All keys under a prefix with their sizes in bytes, asked for page by page while they are read."""
        with _translated():
            for found in self._client.list_objects(self._bucket, prefix, recursive=True):
                if found.object_name:
                    yield found.object_name, found.size or 0

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys under a prefix, asked for page by page while they are read."""
        for key, _ in self.sizes(prefix):
            yield key

    def presign_get(self, key: str, *, expires: timedelta) -> str:
        """A short-lived public URL for one object; signed locally, no request is made.

        For half of its life the same one is given out again: a signature takes a tenth of a millisecond, a page of
        results has forty, and a browser knows a picture again by its URL.
        """
        half_s = max(1, int(expires.total_seconds() / 2))
        return self._signed(key, expires, int(time.time()) // half_s * half_s)

    def _sign(self, key: str, expires: timedelta, since_s: int) -> str:
        since = datetime.fromtimestamp(since_s, UTC)
        return self._public.presigned_get_object(self._bucket, key, expires, request_date=since)

    def presign_put(self, key: str, *, expires: timedelta) -> str:
        """A public URL by which one object can be put; signed locally, no request is made."""
        return self._public.presigned_put_object(self._bucket, key, expires)

    def check(self) -> None:
        """Raise UnavailableError unless the bucket answers."""
        with _translated():
            there = self._client.bucket_exists(self._bucket)
        if not there:
            raise UnavailableError(f"The bucket {self._bucket!r} does not exist; start the service once to create it.")

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, which lie within the object. NotFoundError when it is gone."""
        return self._read(key, offset, length)

    def _read(self, key: str, offset: int = 0, length: int = 0, *, max_bytes: int | None = None) -> bytes:
        with _translated(key):
            response = self._client.get_object(self._bucket, key, offset, length)
            try:
                data = response.read(None if max_bytes is None else max_bytes + 1)
            finally:
                response.close()
                response.release_conn()
        if max_bytes is not None and len(data) > max_bytes:
            raise TooLargeError(f"The object is larger than {max_bytes} bytes.")
        return data


class _Ranged(io.RawIOBase):
    """An object as an unbuffered file."""

    def __init__(self, store: S3ObjectStore, key: str, size: int) -> None:
        self._store = store
        self._key = key
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("Cannot seek to before the start.")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        target = memoryview(buffer).cast("B")
        data = self._next(len(target))
        target[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return self._next(self._size)

    def _next(self, length: int) -> bytes:
        length = min(length, self._size - self._position)
        if length <= 0:
            return b""
        data = self._store.read_range(self._key, self._position, length)
        self._position += len(data)
        return data


class _Counted:
    """The part of a stream that uploads use, and how much was read of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size_bytes = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.size_bytes += len(data)
        return data


def s3_client(settings: Settings, endpoint: str) -> Minio:
    """A client of one address of the S3 server, with time limits and retries."""
    scheme, _, address = endpoint.rpartition("://")
    timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
    retries = urllib3.Retry(total=2, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504])
    return Minio(
        address,
        access_key=settings.s3_access_key.get_secret_value(),
        secret_key=settings.s3_secret_key.get_secret_value(),
        secure=scheme == "https" if scheme else settings.s3_secure,
        region=settings.s3_region,
        http_client=urllib3.PoolManager(maxsize=_POOL_SIZE, timeout=timeout, retries=retries),
    )


@contextmanager
def _translated(key: str = "") -> Iterator[None]:
    """Absent objects become NotFoundError where a `key` is named; all else that S3 refuses may pass by itself."""
    try:
        yield
    except (MinioException, urllib3.exceptions.HTTPError) as error:
        if key and _says_absent(error):
            raise NotFoundError("The object is not in the bucket.") from error
        raise _unavailable() from error


def _says_absent(error: Exception) -> bool:
    if isinstance(error, S3Error):
        return error.code in _ABSENT
    # Some servers call their XML text/xml, and then the client quotes the answer instead of reading it.
    return isinstance(error, InvalidResponseError) and any(code in str(error) for code in _ABSENT)


def _unavailable() -> UnavailableError:
    return UnavailableError("The object store does not answer as it should; try again in a moment.")
