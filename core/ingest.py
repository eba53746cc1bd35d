"""Fetch units: bytes in, validated blobs out. What did not change ends here; the rest goes on to be embedded."""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO, Self
from uuid import UUID

from core.archives import read_archived
from core.context import Context
from core.embedding import SourcedDraft, embed_unit
from core.errors import ItemError, NotFoundError, UnavailableError
from core.items import PlannedItem, fetch_failed, planned_item, superseded
from core.jobs import rank
from core.keys import blob_key, thumbnail_key
from core.limits import picture_limits
from core.models import (
    Attributes,
    Blob,
    ClaimedUnit,
    Gallery,
    ImageDraft,
    ItemOutcome,
    Job,
    NewUnit,
    Outcome,
    Queue,
)
from core.pictures import THUMBNAIL_MEDIA_TYPE, validate
from core.ports import ObjectStore, StoredImage, UnitOfWork
from core.settings import MEBIBYTE


@dataclass(frozen=True, slots=True)
class FetchHandler:
    """Runs `fetch` units."""

    ctx: Context

    def open(self, unit: ClaimedUnit, job: Job) -> "_Fetch":
        """Find the gallery. NotFoundError when it was deleted meanwhile."""
        with self.ctx.uow() as uow:
            gallery = uow.galleries.by_id(UUID(unit.payload["gallery_id"]))
        if gallery is None or gallery.deleting:
            raise NotFoundError(f"The gallery `{job.gallery_name}` was deleted meanwhile.")
        return _Fetch(self.ctx, job, gallery, [planned_item(raw) for raw in unit.payload["items"]])


@dataclass(frozen=True, slots=True)
class _Fetched:
    item: PlannedItem
    data: bytes
    sha256: str


@dataclass(slots=True)
class _Sorted:
    """What a batch's items came to. `versions`: of the images whose picture stays; `attributes`: where these change."""

    ended: list[ItemOutcome] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    attributes: dict[str, Attributes] = field(default_factory=dict)
    drafts: list[SourcedDraft] = field(default_factory=list)
    stored: list[Blob] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Fetch:
    ctx: Context
    job: Job
    gallery: Gallery
    items: Sequence[PlannedItem]

    @property
    def batch_items(self) -> int:
        """Items a transaction."""
        return self.ctx.settings.ingest_batch

    def compute(self, start: int, stop: int) -> "_FetchedBatch":
        """Read items [start, stop), drop what did not change, validate and store the rest."""
        done = _Sorted()
        fetched = self._fetch(self.items[start:stop], done)
        with self.ctx.uow() as uow:
            current = uow.images.current(self.gallery.id, [one.item.external_id for one in fetched])
            known = uow.blobs.touch(self.job.tenant_id, [one.sha256 for one in fetched])
            uow.commit()
        for one in fetched:
            self._sort(one, current.get(one.item.external_id), known, done)
        units = [embed_unit(self.job, self.gallery, done.drafts)] if done.drafts else []
        return _FetchedBatch(self.job, self.gallery, done, units)

    def _fetch(self, items: Sequence[PlannedItem], done: _Sorted) -> list[_Fetched]:
        fetched = []
        with _Reader(self.ctx) as reader:
            for item in items:
                try:
                    data = reader.read(item)
                except ItemError as error:
                    done.ended.append(_failed(item, error))
                else:
                    fetched.append(_Fetched(item, data, hashlib.sha256(data).hexdigest()))
        return fetched

    def _sort(self, one: _Fetched, stored: StoredImage | None, known: dict[str, Blob], done: _Sorted) -> None:
        item = one.item
        attributes = (stored.attributes if stored else {}) if item.attributes is None else item.attributes
        if stored is not None and stored.last_job_id > rank(self.job):
            done.ended.append(superseded(item.external_id, item.source))
            return
        if stored is not None and stored.sha256 == one.sha256:
            done.versions[item.external_id] = stored.version
            if stored.attributes != attributes:
                done.attributes[item.external_id] = attributes
            return
        try:
            blob = known.get(one.sha256) or self._store(one, done)
        except ItemError as error:
            done.ended.append(_failed(item, error))
            return
        known[one.sha256] = blob
        done.drafts.append(SourcedDraft(ImageDraft(item.external_id, blob, attributes), item.source, item.place))

    def _store(self, one: _Fetched, done: _Sorted) -> Blob:
        """Validate and put. A crash before the commit leaves an orphan in the bucket, never a row without a blob."""
        settings = self.ctx.settings
        valid = validate(one.data, picture_limits(settings), thumbnail_px=settings.thumbnail_px)
        tenant_id = self.job.tenant_id
        self.ctx.objects.put(thumbnail_key(tenant_id, one.sha256), valid.thumbnail, media_type=THUMBNAIL_MEDIA_TYPE)
        self.ctx.objects.put(blob_key(tenant_id, one.sha256), one.data, media_type=valid.blob.media_type)
        done.stored.append(valid.blob)
        return valid.blob

    def poison(self, item: int) -> ItemOutcome | None:
        """The item that keeps killing workers."""
        detail = "Reading this picture ended the worker process repeatedly; it is passed over."
        return _failed(self.items[item], ItemError("poison", detail))


def _failed(item: PlannedItem, error: ItemError) -> ItemOutcome:
    return fetch_failed(item, error.item_code, error.detail)


class _Reader:
    """Reads items, keeping each archive open for the batch."""

    def __init__(self, ctx: Context) -> None:
        self._objects: ObjectStore = ctx.objects
        self._max_bytes = ctx.settings.max_image_mib * MEBIBYTE
        self._max_ratio = ctx.settings.max_archive_ratio
        self._stack = ExitStack()
        self._open: dict[str, BinaryIO] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, item: PlannedItem) -> bytes:
        """The item's bytes. ItemError when they cannot be had."""
        place = item.place
        try:
            if place.entry is None:
                if place.size_bytes > self._max_bytes:
                    limit = self._max_bytes // MEBIBYTE
                    raise ItemError("file_too_large", f"The file is larger than {limit} MiB: send a smaller version.")
                return self._objects.get(place.key)
            if place.key not in self._open:
                self._open[place.key] = self._stack.enter_context(self._objects.open(place.key))
            stream = self._open[place.key]
            return read_archived(stream, place.entry, max_bytes=self._max_bytes, max_ratio=self._max_ratio)
        except NotFoundError as error:
            raise ItemError("upload_missing", "The uploaded file is gone; send the import again.") from error


@dataclass(frozen=True, slots=True)
class _FetchedBatch:
    job: Job
    gallery: Gallery
    done: _Sorted
    units: Sequence[NewUnit]

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Blobs, attribute changes, and the embedding unit of what is new."""
        done = self.done
        uow.blobs.add(self.job.tenant_id, sorted(done.stored, key=lambda blob: blob.sha256))
        uow.units.add(self.units)
        return [*done.ended, *self._settle(uow)]

    def _settle(self, uow: UnitOfWork) -> list[ItemOutcome]:
        """Become the last writer of the images whose picture stays, so that no older job overwrites them any more.

        UnavailableError when one changed since it was compared: then the batch has to compare again.
        """
        versions, gallery_id, mine = self.done.versions, self.gallery.id, rank(self.job)
        if not versions:
            return []
        claimed = uow.images.claim(gallery_id, versions, job_id=mine)
        lost = [external_id for external_id in versions if external_id not in claimed]
        now = uow.images.current(gallery_id, lost) if lost else {}
        if any(external_id not in now or now[external_id].last_job_id <= mine for external_id in lost):
            raise UnavailableError("Images changed while they were compared with; the batch is read again.")
        wanted = {external_id: value for external_id, value in self.done.attributes.items() if external_id in claimed}
        changed = uow.images.set_attributes(gallery_id, wanted, job_id=mine) if wanted else {}
        same = [ItemOutcome(name, Outcome.UNCHANGED) for name in claimed if name not in wanted]
        return [
            *same,
            *(ItemOutcome(name, outcome) for name, outcome in changed.items()),
            *(superseded(name) for name in lost),
        ]

    def rings(self) -> Sequence[Queue]:
        """The embedding queue, if it has work."""
        return [unit.queue for unit in self.units]
