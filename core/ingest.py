"""Fetch units: bytes in, validated blobs out. What did not change ends here; the rest goes on to be embedded."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from core.context import Context
from core.embedding import SourcedDraft, embed_unit
from core.errors import ItemError, NotFoundError, TemporaryItemError, UnavailableError
from core.ids import new_id
from core.items import PlannedItem, Remote, as_raw, fetch_failed, planned_item, superseded
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
    RemoteVersion,
    UnitKind,
)
from core.pictures import THUMBNAIL_MEDIA_TYPE, validate
from core.ports import StoredImage, UnitOfWork
from core.quotas import Quota, quota_of
from core.reading import Arrived, Known, Missed, Reader, Remotes
from core.settings import MEBIBYTE

PAUSES = (timedelta(seconds=15), timedelta(minutes=1), timedelta(minutes=5))
"""Before a picture whose server failed for a passing reason is tried again; after the last it has failed."""

MAX_HELD_BYTES = 64 * MEBIBYTE
"""Contents that a batch holds in memory before it stores them, not counting the last that came."""


@dataclass(frozen=True, slots=True)
class Tried:
    """How often a unit's items were put off because of their servers, and when they are due."""

    times: int = 0
    not_before: datetime | None = None


FIRST_TRY = Tried()


def fetch_unit(job: Job, gallery: Gallery, items: Sequence[PlannedItem], *, tried: Tried = FIRST_TRY) -> NewUnit:
    """The unit that brings these items in."""
    return NewUnit(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=UnitKind.FETCH,
        queue=Queue.INGEST,
        size=len(items),
        payload={
            "gallery_id": str(gallery.id),
            "items": [as_raw(item) for item in items],
            "tried": tried.times,
        },
        not_before=tried.not_before,
    )


class FetchHandler:
    """Runs `fetch` units."""

    def __init__(self, ctx: Context, remotes: Remotes) -> None:
        self.ctx = ctx
        self.remotes = remotes
        threads = ctx.settings.fetch_threads * ctx.settings.ingest_threads
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="fetch")

    def open(self, unit: ClaimedUnit, job: Job) -> "_Fetch":
        """Find the gallery. NotFoundError when it was deleted meanwhile."""
        with self.ctx.uow() as uow:
            gallery = uow.galleries.by_id(UUID(unit.payload["gallery_id"]))
            quota = quota_of(uow, self.ctx.settings, job.tenant_id)
        if gallery is None or gallery.deleting:
            raise NotFoundError(f"The gallery `{job.gallery_name}` was deleted meanwhile.")
        items = [planned_item(raw) for raw in unit.payload["items"]]
        return _Fetch(self, job, gallery, quota, items, unit.payload.get("tried", 0))


@dataclass(slots=True)
class _Sorted:
    """What a batch's items came to. `versions`: of the images whose picture stays; `attributes`: where these change."""

    ended: list[ItemOutcome] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    attributes: dict[str, Attributes] = field(default_factory=dict)
    drafts: list[SourcedDraft] = field(default_factory=list)
    stored: list[Blob] = field(default_factory=list)
    seen: dict[str, RemoteVersion] = field(default_factory=dict)
    untried: list[PlannedItem] = field(default_factory=list)
    later: list[Missed] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Fetch:
    handler: FetchHandler
    job: Job
    gallery: Gallery
    quota: Quota
    items: Sequence[PlannedItem]
    tried: int

    @property
    def ctx(self) -> Context:
        return self.handler.ctx

    @property
    def batch_items(self) -> int:
        """Items a transaction."""
        return self.ctx.settings.ingest_batch

    def compute(self, start: int, stop: int) -> "_FetchedBatch":
        """Read items [start, stop), drop what did not change, validate and store the rest."""
        items = self.items[start:stop]
        known, is_full = self._known(items)
        done = _Sorted()
        if is_full:  # so what is new need not even be read
            done.ended += [self.quota.exceeded(item) for item in items if item.external_id not in known.images]
            items = [item for item in items if item.external_id in known.images]
        held: list[Arrived] = []
        held_bytes = 0
        with Reader(self.ctx, self.handler.remotes, self.handler.pool, known) as reader:
            for read in reader.read(items):
                if isinstance(read, Missed):
                    self._miss(read, done)
                    continue
                held.append(read)
                held_bytes += len(read.data)
                if held_bytes > MAX_HELD_BYTES:
                    self._keep(held, known, done)
                    held, held_bytes = [], 0
        self._keep(held, known, done)
        embedding = [embed_unit(self.job, self.gallery, done.drafts)] if done.drafts else []
        return _FetchedBatch(self.job, self.gallery, done, [*embedding, *self._put_off(done)])

    def _known(self, items: Sequence[PlannedItem]) -> tuple[Known, bool]:
        """What is stored of the items, and whether the tenant's quota is used up."""
        names = [item.external_id for item in items]
        remote = [item.external_id for item in items if isinstance(item.place, Remote)]
        with self.ctx.uow() as uow:
            images = uow.images.current(self.gallery.id, names)
            versions = uow.remote_versions.known(self.gallery.id, remote) if remote else {}
            return Known(images, versions), self.quota.is_full(uow)

    def _miss(self, missed: Missed, done: _Sorted) -> None:
        error = missed.error
        if isinstance(error, TemporaryItemError) and not error.attempted:
            done.untried.append(missed.item)
        elif isinstance(error, TemporaryItemError) and self.tried < len(PAUSES):
            done.later.append(missed)
        else:
            done.ended.append(_failed(missed.item, error))

    def _put_off(self, done: _Sorted) -> list[NewUnit]:
        """Units of what has to be fetched once more: at once what was not tried, and after a pause what failed."""
        units = []
        if done.untried:
            units.append(fetch_unit(self.job, self.gallery, done.untried, tried=Tried(self.tried)))
        if done.later:
            asked_s = max(
                one.error.retry_after_s or 0.0 for one in done.later if isinstance(one.error, TemporaryItemError)
            )
            pause = max(PAUSES[self.tried], timedelta(seconds=asked_s))
            tried = Tried(self.tried + 1, self.ctx.clock.now() + pause)
            units.append(fetch_unit(self.job, self.gallery, [one.item for one in done.later], tried=tried))
        return units

    def _keep(self, held: Sequence[Arrived], known: Known, done: _Sorted) -> None:
        """Store what is new of these, and note what the rest came to."""
        new = [one.sha256 for one in held if one.sha256 != known.sha256(one.item)]
        blobs: dict[str, Blob] = {}
        if new:
            with self.ctx.uow() as uow:
                blobs = uow.blobs.touch(self.job.tenant_id, new)
                uow.commit()
        for one in held:
            if one.version is not None:
                done.seen[one.item.external_id] = one.version
            self._sort(one, known.images.get(one.item.external_id), blobs, done)

    def _sort(self, one: Arrived, stored: StoredImage | None, known: dict[str, Blob], done: _Sorted) -> None:
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

    def _store(self, one: Arrived, done: _Sorted) -> Blob:
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


@dataclass(frozen=True, slots=True)
class _FetchedBatch:
    job: Job
    gallery: Gallery
    done: _Sorted
    units: Sequence[NewUnit]

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Blobs, attribute changes, versions of addresses, and the units of what goes on."""
        done = self.done
        uow.blobs.add(self.job.tenant_id, sorted(done.stored, key=lambda blob: blob.sha256))
        uow.units.add(self.units)
        uow.remote_versions.remember(self.gallery.id, done.seen)
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
        """The queues of units that are due now."""
        return [unit.queue for unit in self.units if unit.not_before is None]
