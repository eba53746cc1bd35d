"""Time, the object store and the doorbell."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import BinaryIO, Protocol

from core.models import Queue


class Clock(Protocol):
    """Time, so that tests control it."""

    def now(self) -> datetime:
        """The present, timezone-aware UTC."""
        ...


class ObjectStore(Protocol):
    """Blobs in one bucket, plain S3 calls only. Keys are ours; content is opaque bytes."""

    def put(self, key: str, data: bytes, *, media_type: str) -> None:
        """Store `data`; the same key again overwrites."""
        ...

    def put_stream(self, key: str, stream: BinaryIO, *, media_type: str) -> int:
        """Store a stream of unknown length by multipart, in constant memory; returns its size in bytes."""
        ...

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """The whole object. NotFoundError when there is none, TooLargeError when it has more than `max_bytes`."""
        ...

    def open(self, key: str) -> BinaryIO:
        """A seekable, buffered, read-only file over ranged GETs, in constant memory. NotFoundError when absent."""
        ...

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; absent ones are no error."""
        ...

    def sizes(self, prefix: str) -> Iterable[tuple[str, int]]:
        """All keys under a prefix with their sizes in bytes."""
        ...

    def keys(self, prefix: str) -> Iterable[str]:
        """All keys under a prefix."""
        ...

    def presign_get(self, key: str, *, expires: timedelta) -> str:
        """A short-lived public URL for one object; signed locally, no request is made."""
        ...

    def presign_put(self, key: str, *, expires: timedelta) -> str:
        """A public URL by which one object can be put; signed locally, no request is made."""
        ...

    def check(self) -> None:
        """Raise UnavailableError unless the bucket answers."""
        ...


class Doorbell(Protocol):
    """Wakes workers. Only ever a hint: SQL is the truth, and the reconciler rings again."""

    def ring(self, queue: Queue, *, times: int = 1) -> bool:
        """Send messages 'run one unit of this queue'. False (logged, never raised) when the broker is away."""
        ...

    def depth(self, queue: Queue) -> int | None:
        """Messages waiting in the queue; None when the broker is away."""
        ...

    def check(self) -> None:
        """Raise UnavailableError unless the broker answers."""
        ...
