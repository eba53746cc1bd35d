"""In-memory ports for the HTTP layer: only what its requests reach, and transactions that never fail half-way."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from types import TracebackType
from typing import Any, BinaryIO, Self, cast
from uuid import UUID

from core.context import Context
from core.errors import ConflictError, NotFoundError, TooLargeError, UnavailableError
from core.filters import Filter, evaluate
from core.ids import new_id
from core.jobs import TERMINAL
from core.keys import blob_key
from core.models import (
    Attributes,
    Backlog,
    Blob,
    Candidate,
    Consumers,
    Feedback,
    Gallery,
    Image,
    ImageState,
    ItemOutcome,
    Job,
    JobKind,
    JobState,
    Kept,
    NewUnit,
    Outcome,
    Page,
    Phase,
    Principal,
    Queue,
    Schedule,
    Scope,
    UnitKind,
    Upload,
    WaitingFor,
)
from core.ports import FeedbackQuery, JobQuery, SavedResponse, StoredImage, UnitOfWorkFactory
from core.settings import Settings

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def _page(rows: Sequence[tuple[str, Any]], size: int, after: str | None) -> Page[Any]:
    rest = [(key, row) for key, row in rows if after is None or key > after]
    shown = rest[:size]
    return Page(items=tuple(row for _, row in shown), next_key=shown[-1][0] if len(rest) > size else None)


@dataclass
class FakeKeys:
    principals: dict[str, Principal] = field(default_factory=dict)
    lookups: int = 0

    def add_tenant(self, name: str) -> UUID:
        return UUID(int=len(name) + 1000 * len(self.principals))

    def add_key(
        self,
        tenant_id: UUID,
        *,
        key_sha256: str,
        scopes: Sequence[Scope],
        label: str,
        requests_per_minute: int | None = None,
    ) -> UUID:
        del label
        key_id = new_id()
        self.principals[key_sha256] = Principal(tenant_id, key_id, frozenset(scopes), requests_per_minute)
        return key_id

    def tenant_name(self, tenant_id: UUID) -> str:
        del tenant_id
        return "shop"

    def find(self, key_sha256: str) -> Principal | None:
        self.lookups += 1
        return self.principals.get(key_sha256)


@dataclass
class FakeGalleries:
    rows: dict[tuple[UUID, str], Gallery] = field(default_factory=dict)

    def add(self, gallery: Gallery) -> None:
        if (gallery.tenant_id, gallery.name) in self.rows:
            raise ConflictError("There is a gallery of that name already.")
        self.rows[gallery.tenant_id, gallery.name] = gallery

    def get(self, tenant_id: UUID, name: str, *, lock: bool = False) -> Gallery | None:  # noqa: ARG002
        found = self.rows.get((tenant_id, name))
        return None if found is None or found.deleting else found

    def by_id(self, gallery_id: UUID) -> Gallery | None:
        return next((row for row in self.rows.values() if row.id == gallery_id), None)

    def page(self, tenant_id: UUID, *, size: int, after: str | None) -> Page[Gallery]:
        return _page(sorted((name, row) for (owner, name), row in self.rows.items() if owner == tenant_id), size, after)

    def update(self, gallery: Gallery) -> None:
        self.rows[gallery.tenant_id, gallery.name] = replace(gallery, version=gallery.version + 1)


@dataclass
class FakeIndexes:
    def add(self, index: object) -> None:
        del index

    def live(self, gallery_id: UUID) -> tuple[()]:
        del gallery_id
        return ()

    def hold(self, gallery_id: UUID, *, alone: bool = False) -> None:
        del gallery_id, alone


@dataclass
class FakeImages:
    rows: dict[UUID, Image] = field(default_factory=dict)

    def get(self, gallery_id: UUID, image_id: UUID, *, lock: bool = False) -> Image | None:  # noqa: ARG002
        found = self.rows.get(image_id)
        return found if found is not None and found.gallery_id == gallery_id else None

    def find(self, gallery_id: UUID, external_id: str) -> Image | None:
        named = (row for row in self.rows.values() if (row.gallery_id, row.external_id) == (gallery_id, external_id))
        return next(named, None)

    def current(self, gallery_id: UUID, external_ids: Sequence[str]) -> dict[str, StoredImage]:
        found = (self.find(gallery_id, external_id) for external_id in external_ids)
        return {
            row.external_id: StoredImage(row.id, row.blob.sha256, row.attributes, row.last_job_id, row.version)
            for row in found
            if row is not None
        }

    def many(self, image_ids: Sequence[UUID]) -> dict[UUID, Image]:
        return {image_id: self.rows[image_id] for image_id in image_ids if image_id in self.rows}

    def page(
        self, gallery_id: UUID, *, size: int, after: str | None, where: Filter | None, external_id: str | None
    ) -> Page[Image]:
        rows = [
            (str(row.id), row)
            for row in self.rows.values()
            if row.gallery_id == gallery_id
            and (external_id is None or row.external_id == external_id)
            and (where is None or evaluate(where, row.attributes))
        ]
        return _page(sorted(rows, key=lambda pair: pair[0]), size, after)

    def patch_attributes(self, image_id: UUID, attributes: Attributes) -> Image:
        row = self.rows[image_id]
        self.rows[image_id] = replace(row, attributes=attributes, version=row.version + 1)
        return self.rows[image_id]

    def remove(self, gallery_id: UUID, image_ids: Sequence[UUID]) -> int:
        del gallery_id
        return sum(self.rows.pop(image_id, None) is not None for image_id in image_ids)


@dataclass
class FakeJobs:
    rows: dict[UUID, Job] = field(default_factory=dict)
    reads: int = 0
    store: "FakeStore" = field(init=False, repr=False)

    def add(self, job: Job) -> None:
        self.rows[job.id] = job

    def get(self, tenant_id: UUID, job_id: UUID) -> Job | None:
        self.reads += 1
        found = self.rows.get(job_id)
        return found if found is not None and found.tenant_id == tenant_id else None

    def phases(self, job_ids: Sequence[UUID]) -> Mapping[UUID, Phase]:
        return {job_id: self.rows[job_id].phase for job_id in job_ids if job_id in self.rows}

    def watched(
        self, tenant_id: UUID, job_id: UUID, *, alive_within: timedelta
    ) -> tuple[Job, WaitingFor | None] | None:
        job = self.get(tenant_id, job_id)
        if job is None or job.state in TERMINAL:
            return None if job is None else (job, None)
        queue = next((unit.queue for unit in self.store.units.rows if unit.job_id == job_id), None)
        if queue is None:
            return job, None
        alive = self.store.workers.consumers(alive_within=alive_within)
        return job, WaitingFor(queue, alive[queue].count if queue in alive else 0, NOW)

    def lock(self, job_id: UUID) -> Job | None:
        return self.rows.get(job_id)

    def open_retry_of(self, job_id: UUID) -> UUID | None:
        retries = (row.id for row in self.rows.values() if row.params.get("retry_of") == str(job_id))
        return next(retries, None)

    def has_mirror_after(self, gallery_id: UUID, rank: UUID) -> bool:
        del gallery_id, rank
        return False

    def keep_until(self, job_id: UUID, moment: datetime) -> None:
        self.rows[job_id] = replace(self.rows[job_id], expires_at=moment)

    def start(self, job_id: UUID) -> None:
        self.rows[job_id] = replace(self.rows[job_id], started_at=NOW)

    def set_state(self, job_id: UUID, state: JobState, *, error: dict[str, Any] | None = None) -> None:
        row = self.rows[job_id]
        self.rows[job_id] = replace(row, state=state, error=error, version=row.version + 1)

    def page(self, tenant_id: UUID, query: JobQuery, *, size: int, after: str | None) -> Page[Job]:
        rows = [
            (str(row.id), row)
            for row in self.rows.values()
            if row.tenant_id == tenant_id and query.kind in {None, row.kind} and query.state in {None, row.state}
        ]
        return _page(sorted(rows, key=lambda pair: pair[0]), size, after)


@dataclass
class FakeUnits:
    rows: list[NewUnit] = field(default_factory=list)

    def add(self, units: Sequence[NewUnit]) -> None:
        self.rows += units

    def open_kinds(self, job_id: UUID) -> frozenset[UnitKind]:
        return frozenset(unit.kind for unit in self.rows if unit.job_id == job_id)

    def cancel_pending(self, job_id: UUID) -> int:
        before = len(self.rows)
        self.rows = [unit for unit in self.rows if unit.job_id != job_id]
        return before - len(self.rows)


@dataclass
class FakeItems:
    rows: list[tuple[UUID, ItemOutcome]] = field(default_factory=list)

    def page(self, job_id: UUID, *, outcome: Outcome | None, size: int, after: str | None) -> Page[ItemOutcome]:
        rows = [
            (f"{number:09d}", item)
            for number, (owner, item) in enumerate(self.rows)
            if owner == job_id and outcome in {None, item.outcome}
        ]
        return _page(rows, size, after)

    def any_retryable(self, job_id: UUID) -> bool:
        return any(owner == job_id and item.planned is not None for owner, item in self.rows)


@dataclass
class FakeCandidates:
    rows: dict[UUID, tuple[Candidate, ...]] = field(default_factory=dict)

    def list(self, job_id: UUID) -> tuple[Candidate, ...]:
        return self.rows.get(job_id, ())


@dataclass
class FakeWorkers:
    counts: dict[Queue, int] = field(default_factory=dict)

    def consumers(self, *, alive_within: timedelta) -> dict[Queue, Consumers]:
        del alive_within
        return {queue: Consumers(queue=queue, count=self.counts.get(queue, 0), last_seen_at=NOW) for queue in Queue}


@dataclass
class FakeMonitoring:
    """Numbers as set by a test; `looks` are those of later looks at the backlog, one each."""

    queues: dict[Queue, Backlog] = field(default_factory=dict)
    looks: list[dict[Queue, Backlog]] = field(default_factory=list)
    jobs: dict[tuple[JobKind, JobState], int] = field(default_factory=dict)
    deliveries: int = 0

    def backlog(self) -> dict[Queue, Backlog]:
        seen = {queue: self.queues.get(queue, Backlog()) for queue in Queue}
        if self.looks:
            self.queues = self.looks.pop(0)
        return seen

    def open_jobs(self) -> dict[tuple[JobKind, JobState], int]:
        return self.jobs

    def pending_deliveries(self) -> int:
        return self.deliveries


@dataclass
class FakeIdempotency:
    rows: dict[tuple[UUID, str], SavedResponse] = field(default_factory=dict)

    def begin(self, tenant_id: UUID, key: str, fingerprint: str, *, lease: timedelta) -> SavedResponse | None:
        del lease
        saved = self.rows.get((tenant_id, key))
        if saved is None:
            self.rows[tenant_id, key] = SavedResponse(fingerprint=fingerprint, status=None, body=None, headers={})
        return saved

    def renew(self, tenant_id: UUID, key: str) -> None:
        """Reservations of this fake do not age."""

    def finish(self, tenant_id: UUID, key: str, response: SavedResponse) -> None:
        self.rows[tenant_id, key] = response

    def abandon(self, tenant_id: UUID, key: str) -> None:
        self.rows.pop((tenant_id, key), None)


@dataclass
class FakeUploads:
    rows: dict[UUID, Upload] = field(default_factory=dict)

    def add(self, uploads: Sequence[Upload]) -> None:
        self.rows |= {upload.id: upload for upload in uploads}

    def find(self, gallery_id: UUID, upload_ids: Sequence[UUID]) -> dict[UUID, Upload]:
        named = {upload_id: self.rows[upload_id] for upload_id in upload_ids if upload_id in self.rows}
        return {upload_id: upload for upload_id, upload in named.items() if upload.gallery_id == gallery_id}

    def keep_with(self, job_id: UUID) -> None:
        """Uploads of this fake are never deleted."""

    def keep(self, upload_ids: Sequence[UUID], *, until: datetime) -> None:
        self.rows |= {upload_id: replace(self.rows[upload_id], expires_at=until) for upload_id in upload_ids}


@dataclass
class FakeSchedules:
    rows: dict[UUID, Schedule] = field(default_factory=dict)

    def put(self, schedule: Schedule) -> bool:
        is_new = schedule.gallery_id not in self.rows
        self.rows[schedule.gallery_id] = schedule
        return is_new

    def get(self, gallery_id: UUID) -> Schedule | None:
        return self.rows.get(gallery_id)

    def remove(self, gallery_id: UUID) -> bool:
        return self.rows.pop(gallery_id, None) is not None


@dataclass
class FakeFeedback:
    rows: dict[tuple[UUID, str], Feedback] = field(default_factory=dict)

    def keep(self, judged: Sequence[Feedback]) -> Kept:
        known = [self.rows.get((one.job_id, one.external_id)) for one in judged]
        differ = [old is None or old.relevant != one.relevant for old, one in zip(known, judged, strict=True)]
        self.rows |= {(one.job_id, one.external_id): one for one, new in zip(judged, differ, strict=True) if new}
        stored = known.count(None)
        return Kept(stored=stored, changed=sum(differ) - stored, unchanged=len(judged) - sum(differ))

    def page(self, gallery_id: UUID, query: FeedbackQuery) -> Page[Feedback]:
        rows = [
            (str(one.id), one)
            for one in self.rows.values()
            if one.gallery_id == gallery_id
            and (query.since is None or one.judged_at >= query.since)
            and (query.incomplete or one.is_triplet)
        ]
        return _page(sorted(rows, key=lambda pair: pair[0]), query.size, query.after)


@dataclass
class FakeStore:
    """Every repository; `available` False is a Postgres that is away."""

    api_keys: FakeKeys = field(default_factory=FakeKeys)
    galleries: FakeGalleries = field(default_factory=FakeGalleries)
    indexes: FakeIndexes = field(default_factory=FakeIndexes)
    images: FakeImages = field(default_factory=FakeImages)
    jobs: FakeJobs = field(default_factory=FakeJobs)
    units: FakeUnits = field(default_factory=FakeUnits)
    items: FakeItems = field(default_factory=FakeItems)
    candidates: FakeCandidates = field(default_factory=FakeCandidates)
    workers: FakeWorkers = field(default_factory=FakeWorkers)
    idempotency: FakeIdempotency = field(default_factory=FakeIdempotency)
    uploads: FakeUploads = field(default_factory=FakeUploads)
    schedules: FakeSchedules = field(default_factory=FakeSchedules)
    feedback: FakeFeedback = field(default_factory=FakeFeedback)
    monitoring: FakeMonitoring = field(default_factory=FakeMonitoring)
    available: bool = True

    def __post_init__(self) -> None:
        self.jobs.store = self

    def __enter__(self) -> Self:
        self.check()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        del exc_type, exc, traceback

    def commit(self) -> None:
        self.check()

    def check(self) -> None:
        if not self.available:
            raise UnavailableError("The database does not answer.")


@dataclass
class FakeObjects:
    held: dict[str, bytes] = field(default_factory=dict)
    available: bool = True

    def put(self, key: str, data: bytes, *, media_type: str) -> None:
        del media_type
        self.held[key] = data

    def put_stream(self, key: str, stream: BinaryIO, *, media_type: str) -> int:
        self.put(key, stream.read(), media_type=media_type)
        return len(self.held[key])

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        if key not in self.held:
            raise NotFoundError("There is no such object.")
        if max_bytes is not None and len(self.held[key]) > max_bytes:
            raise TooLargeError("The object is too large.")
        return self.held[key]

    def open(self, key: str) -> BinaryIO:
        return BytesIO(self.get(key))

    def exists(self, key: str) -> bool:
        return key in self.held

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.held.pop(key, None)

    def keys(self, prefix: str) -> Iterable[str]:
        return [key for key in self.held if key.startswith(prefix)]

    def sizes(self, prefix: str) -> Iterable[tuple[str, int]]:
        return [(key, len(self.held[key])) for key in self.keys(prefix)]

    def presign_put(self, key: str, *, expires: timedelta) -> str:
        return f"http://bucket.test/{key}?put&expires={expires.total_seconds():.0f}"

    def presign_get(self, key: str, *, expires: timedelta) -> str:
        return f"http://bucket.test/{key}?expires={expires.total_seconds():.0f}"

    def check(self) -> None:
        if not self.available:
            raise UnavailableError("The bucket does not answer.")


@dataclass
class FakeDoorbell:
    rung: list[Queue] = field(default_factory=list)
    available: bool = True

    def ring(self, queue: Queue, *, times: int = 1) -> bool:
        self.rung += [queue] * times
        return self.available

    def depth(self, queue: Queue) -> int | None:
        return self.rung.count(queue)

    def check(self) -> None:
        if not self.available:
            raise UnavailableError("The broker does not answer.")


class FakeClock:
    def now(self) -> datetime:
        return NOW


@dataclass
class World:
    """The fakes behind one application."""

    store: FakeStore = field(default_factory=FakeStore)
    objects: FakeObjects = field(default_factory=FakeObjects)
    doorbell: FakeDoorbell = field(default_factory=FakeDoorbell)

    def context(self, settings: Settings) -> Context:
        return Context(
            uow=cast("UnitOfWorkFactory", lambda *, read_only=False: self.store),  # noqa: ARG005
            objects=self.objects,
            doorbell=self.doorbell,
            clock=FakeClock(),
            settings=settings,
        )

    def add_image(self, gallery: Gallery, external_id: str, **attributes: Any) -> Image:
        """An image whose picture is in the object store."""
        data = f"picture of {external_id}".encode()
        blob = Blob(
            sha256=data.hex().ljust(64, "0")[:64], size_bytes=len(data), width=3, height=2, media_type="image/png"
        )
        image = Image(
            id=new_id(),
            tenant_id=gallery.tenant_id,
            gallery_id=gallery.id,
            external_id=external_id,
            blob=blob,
            attributes=attributes,
            state=ImageState.READY,
            last_job_id=new_id(),
            version=1,
            created_at=NOW,
            updated_at=NOW,
        )
        self.store.images.rows[image.id] = image
        self.objects.held[blob_key(gallery.tenant_id, blob.sha256)] = data
        return image
