"""The bytes of items: out of stored files and archives, from URLs, and from buckets that are not our own."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import BinaryIO, Self, TypeAlias

from core.archives import read_archived
from core.buckets import is_s3, parse_s3
from core.context import Context
from core.errors import ItemError, NotFoundError, TemporaryItemError, TooLargeError
from core.items import Place, PlannedItem, Remote
from core.lease import still_moving
from core.models import RemoteVersion
from core.ports import Fetch, Fetcher, NotModified, SourceBuckets, StoredImage, Validators
from core.settings import MEBIBYTE

BUDGET_SHARE = 0.25
"""Of a batch's time limit: after that no further fetch begins in it."""


@dataclass(frozen=True, slots=True)
class Remotes:
    """Where pictures come from beyond the service's own bucket."""

    web: Fetcher
    buckets: SourceBuckets

    def fetch(self, address: str, *, max_bytes: int, known: Validators | None = None) -> Fetch:
        """What is at an http(s) URL or an `s3://` key; NotModified when it still is what is known. ItemErrors."""
        if is_s3(address):
            place = parse_s3(address)
            etag = known.etag if known else ""
            return self.buckets.read(place.bucket, place.key, max_bytes=max_bytes, known_etag=etag)
        return self.web.get(address, max_bytes=max_bytes, known=known)


@dataclass(frozen=True, slots=True)
class Arrived:
    """An item's content. `data` is empty when it is what the image has already; `version` is worth remembering."""

    item: PlannedItem
    sha256: str
    data: bytes = b""
    version: RemoteVersion | None = None


@dataclass(frozen=True, slots=True)
class Missed:
    """An item whose bytes did not come. A TemporaryItemError may be tried again later."""

    item: PlannedItem
    error: ItemError


Read: TypeAlias = Arrived | Missed


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of a batch's items, by external id: the images, and what was last seen at their addresses."""

    images: Mapping[str, StoredImage]
    versions: Mapping[str, RemoteVersion]

    def sha256(self, item: PlannedItem) -> str:
        """Of the image's present picture; empty when there is no image."""
        stored = self.images.get(item.external_id)
        return stored.sha256 if stored else ""

    def version(self, item: PlannedItem, url: str) -> RemoteVersion | None:
        """What this very address had, provided that the image still shows it."""
        seen = self.versions.get(item.external_id)
        return seen if seen is not None and seen.url == url and seen.sha256 == self.sha256(item) else None


class Reader:
    """Reads items of one batch, keeping each archive open meanwhile. Use it in one thread, as a context manager."""

    def __init__(self, ctx: Context, remotes: Remotes, pool: ThreadPoolExecutor, known: Known) -> None:
        self._ctx = ctx
        self._remotes = remotes
        self._pool = pool
        self._known = known
        self._max_bytes = ctx.settings.max_image_mib * MEBIBYTE
        self._stack = ExitStack()
        self._open: dict[str, BinaryIO] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, items: Sequence[PlannedItem]) -> Iterator[Read]:
        """All of the items, stored ones first; remote ones several at once, and no more bodies held than that."""
        for item in items:
            if isinstance(item.place, Place):
                yield _caught(item, partial(self._stored, item, item.place))
        remote = [(item, item.place) for item in items if isinstance(item.place, Remote)]
        yield from self._fetched(remote)

    def _fetched(self, items: Sequence[tuple[PlannedItem, Remote]]) -> Iterator[Read]:
        settings = self._ctx.settings
        until = self._ctx.clock.now() + timedelta(seconds=BUDGET_SHARE * settings.batch_limit_s)
        waiting: deque[Future[Read]] = deque()
        try:
            for item, place in items:
                waiting.append(self._pool.submit(self._in_time, until, item, place))
                if len(waiting) == settings.fetch_threads:
                    yield _next(waiting)
            while waiting:
                yield _next(waiting)
        finally:
            for future in waiting:
                future.cancel()

    def _in_time(self, until: datetime, item: PlannedItem, place: Remote) -> Read:
        if self._ctx.clock.now() > until:
            detail = "The downloads before this one took long."
            return Missed(item, TemporaryItemError("url_timeout", detail, attempted=False))
        return _caught(item, partial(self._remote, item, place))

    def _stored(self, item: PlannedItem, place: Place) -> Arrived:
        settings = self._ctx.settings
        try:
            if place.entry is None:
                if place.size_bytes > self._max_bytes:
                    raise self._too_large()
                # Whoever has a presigned URL may have put something larger than was announced.
                return self._arrived(item, self._ctx.objects.get(place.key, max_bytes=self._max_bytes))
            if place.key not in self._open:
                self._open[place.key] = self._stack.enter_context(self._ctx.objects.open(place.key))
            data = read_archived(
                self._open[place.key], place.entry, max_bytes=self._max_bytes, max_ratio=settings.max_archive_ratio
            )
        except TooLargeError as error:
            raise self._too_large() from error
        except NotFoundError as error:
            raise ItemError("upload_missing", "The uploaded file is gone; send the import again.") from error
        return self._arrived(item, data)

    def _too_large(self) -> ItemError:
        limit = self._ctx.settings.max_image_mib
        return ItemError("file_too_large", f"The file is larger than {limit} MiB: send a smaller version.")

    def _remote(self, item: PlannedItem, place: Remote) -> Arrived:
        seen = self._known.version(item, place.url)
        if seen is not None and place.etag and place.etag == seen.etag:
            return Arrived(item, seen.sha256)  # the listing said so: nothing needs to be asked
        answer = self._ask(place, seen)
        if isinstance(answer, NotModified):
            return Arrived(item, self._known.sha256(item))
        arrived = self._arrived(item, answer.data)
        etag, last_modified = answer.validators.etag, answer.validators.last_modified
        if not etag and not last_modified:
            return arrived
        return Arrived(
            item, arrived.sha256, arrived.data, RemoteVersion(place.url, etag, last_modified, arrived.sha256)
        )

    def _ask(self, place: Remote, seen: RemoteVersion | None) -> Fetch:
        known = Validators(seen.etag, seen.last_modified) if seen else None
        return self._remotes.fetch(place.url, max_bytes=self._max_bytes, known=known)

    def _arrived(self, item: PlannedItem, data: bytes) -> Arrived:
        sha256 = hashlib.sha256(data).hexdigest()
        return Arrived(item, sha256, b"" if sha256 == self._known.sha256(item) else data)


def _caught(item: PlannedItem, read: Callable[[], Arrived]) -> Read:
    try:
        return read()
    except ItemError as error:
        return Missed(item, error)


def _next(waiting: deque[Future[Read]]) -> Read:
    read = waiting.popleft().result()
    still_moving()
    return read
