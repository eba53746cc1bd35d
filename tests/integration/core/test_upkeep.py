"""Upkeep on real Postgres and S3, with a clock that the test moves."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from cli.local.services import RunningServices
from core import upkeep
from core.context import Context
from core.errors import UnavailableError
from core.ids import made_at, new_id
from core.keys import blob_key, export_key, session_key, thumbnail_key, upload_key
from core.models import Blob, Counters, Gallery, ItemOutcome, Job, JobKind, JobState, Outcome, Upload
from core.ports import Doorbell, ObjectStore, UnitOfWorkFactory
from storage.objects import S3ObjectStore
from tests.integration.core.test_durable import Bell
from tests.integration.storage import builders

pytestmark = pytest.mark.integration
DAY = timedelta(days=1)
PATIENCE_S = 20


@dataclass
class MovedClock:
    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class House:
    """A tenant with a gallery, and what it takes to keep it tidy."""

    ctx: Context
    clock: MovedClock
    gallery: Gallery

    @property
    def tenant_id(self) -> UUID:
        return self.gallery.tenant_id

    def tidy_after(self, ahead: timedelta) -> None:
        self.clock.ahead = ahead
        upkeep.run(self.ctx)

    def store(self, name: str) -> Blob:
        """A picture as an import leaves it before its image is there."""
        blob = builders.blob(name)
        for key in self.keys(blob):
            self.ctx.objects.put(key, name.encode(), media_type="image/jpeg")
        with self.ctx.uow() as uow:
            uow.blobs.add(self.tenant_id, [blob])
            uow.commit()
        return blob

    def keys(self, blob: Blob) -> tuple[str, str]:
        return blob_key(self.tenant_id, blob.sha256), thumbnail_key(self.tenant_id, blob.sha256)

    def show(self, external_id: str, blob: Blob) -> UUID:
        with self.ctx.uow() as uow:
            draft = replace(builders.draft(external_id), blob=blob)
            written = uow.images.upsert(self.gallery, [draft], job_id=new_id())
            uow.commit()
        return written[external_id].image_id

    def find(self, blob: Blob) -> bool:
        """What a fetch unit does with a picture that it read: whether the bucket is said to have it."""
        with self.ctx.uow() as uow:
            found = uow.blobs.touch(self.tenant_id, [blob.sha256])
            uow.commit()
        return bool(found)

    def has_row(self, blob: Blob) -> bool:
        with self.ctx.uow() as uow:
            return bool(uow.blobs.touch(self.tenant_id, [blob.sha256]))

    def has_object(self, blob: Blob) -> bool:
        there = {self.ctx.objects.exists(key) for key in self.keys(blob)}
        assert len(there) == 1, "picture and thumbnail come and go together"
        return there.pop()

    def with_objects(self, objects: ObjectStore) -> "House":
        return replace(self, ctx=replace(self.ctx, objects=objects))


@pytest.fixture
def house(uow_factory: UnitOfWorkFactory, services: RunningServices, object_store: S3ObjectStore) -> House:
    clock = MovedClock()
    ctx = Context(uow_factory, object_store, cast("Doorbell", Bell()), clock, services.settings)
    return House(ctx, clock, builders.add_gallery(uow_factory, builders.add_tenant(uow_factory)))


def test_a_picture_without_an_image_goes_after_a_day_with_its_thumbnail(house: House) -> None:
    shown, left = house.store("shown"), house.store("left")
    house.show("sku", shown)
    house.tidy_after(DAY - timedelta(hours=1))
    assert house.has_object(left)
    house.tidy_after(DAY + timedelta(hours=1))
    assert (house.has_row(left), house.has_object(left)) == (False, False)
    assert (house.has_row(shown), house.has_object(shown)) == (True, True)


def test_the_picture_of_a_deleted_image_goes_unless_another_image_has_it(house: House) -> None:
    lone, shared = house.store("lone"), house.store("shared")
    deleted = [house.show("a", lone), house.show("b", shared)]
    house.show("c", shared)
    with house.ctx.uow() as uow:
        uow.images.remove(house.gallery.id, deleted)
        uow.commit()
    house.tidy_after(2 * DAY)
    assert (house.has_object(lone), house.has_object(shared)) == (False, True)


def test_a_picture_that_an_open_import_may_have_found_stays_however_long_that_takes(
    house: House, uow_factory: UnitOfWorkFactory
) -> None:
    job = builders.add_job(uow_factory, house.tenant_id, created_at=datetime.now(UTC), expires_at=house.clock.now())
    found = house.store("found")
    house.tidy_after(9 * DAY)
    assert house.has_object(found)
    with uow_factory() as uow:
        uow.jobs.set_state(job.id, JobState.CANCELED)
        uow.commit()
    house.tidy_after(9 * DAY)
    assert not house.has_object(found)


def test_a_picture_found_between_the_two_steps_is_stored_anew_and_stays(house: House) -> None:
    blob = house.store("wanted again")
    house.clock.ahead = 2 * DAY
    upkeep.condemn_blobs(house.ctx, lambda: False)
    assert not house.find(blob)  # so the import stores it
    house.clock.ahead = timedelta(0)
    upkeep.collect_blobs(house.ctx, lambda: False)
    assert house.has_object(blob)  # touched just now: the import has a day
    house.store("wanted again")
    house.show("sku", blob)
    house.tidy_after(2 * DAY)
    assert (house.has_row(blob), house.has_object(blob)) == (True, True)


@dataclass
class Watched:
    """The bucket, with something that happens just before objects are deleted."""

    store: ObjectStore
    before_delete: Callable[[], None]
    fails: bool = False
    deleted: list[str] = field(default_factory=list)

    def delete(self, keys: Iterable[str]) -> None:
        self.deleted = list(keys)
        if self.deleted:
            self.before_delete()
        self.store.delete(self.deleted)
        if self.fails and self.deleted:
            raise UnavailableError("Killed right here.")

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)


def test_an_import_that_comes_while_a_picture_is_collected_waits_and_stores_it_anew(
    house: House, engine: Engine
) -> None:
    blob = house.store("contested")
    with ThreadPoolExecutor(1) as pool:
        found: list[bool] = []

        def find_and_store() -> None:
            found.append(house.find(blob))
            house.store("contested")

        def begin_import() -> None:
            waiting.append(pool.submit(find_and_store))
            until_somebody_waits_for_a_lock(engine)

        waiting: list[Future[None]] = []
        watched = Watched(house.ctx.objects, begin_import)
        house.with_objects(cast("ObjectStore", watched)).tidy_after(2 * DAY)
        waiting[0].result(timeout=PATIENCE_S)
    assert watched.deleted
    assert found == [False]
    assert (house.has_row(blob), house.has_object(blob)) == (True, True)


def until_somebody_waits_for_a_lock(engine: Engine) -> None:
    with engine.connect() as connection:
        while not connection.execute(
            text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        ).scalar_one():
            connection.rollback()


def test_a_collector_that_dies_after_the_objects_leaves_no_row_that_counts(house: House) -> None:
    blob = house.store("half gone")
    dying = Watched(house.ctx.objects, lambda: None, fails=True)
    house.with_objects(cast("ObjectStore", dying)).tidy_after(2 * DAY)
    assert not house.has_object(blob)
    assert not house.has_row(blob)  # condemned: an import would store it anew
    house.tidy_after(2 * DAY)
    with house.ctx.uow() as uow:
        assert uow.blobs.lock_condemned(before=house.clock.now(), limit=9) == ()


def test_an_object_without_a_row_goes_within_two_days_unless_an_import_was_just_storing_it(house: House) -> None:
    orphan, arriving = builders.blob("orphan"), builders.blob("arriving")
    for blob in (orphan, arriving):
        for key in house.keys(blob):
            house.ctx.objects.put(key, b"stored", media_type="image/jpeg")
    adopted = 0
    for hour in range(24):
        house.clock.ahead = timedelta(hours=hour)
        adopted += upkeep.adopt_orphans(house.ctx, lambda: False)
    assert adopted == 2
    house.store("arriving")  # the batch that was storing it commits
    house.show("sku", arriving)
    house.tidy_after(2 * DAY)
    assert (house.has_object(orphan), house.has_object(arriving)) == (False, True)


def test_collectors_at_once_do_no_harm(house: House) -> None:
    blobs = [house.store(f"left {number}") for number in range(30)]
    house.clock.ahead = 2 * DAY
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: upkeep.run(house.ctx), range(4)))
    assert not any(house.has_object(blob) or house.has_row(blob) for blob in blobs)


def test_a_finished_job_goes_with_its_items_units_and_files(house: House, uow_factory: UnitOfWorkFactory) -> None:
    now = datetime.now(UTC)
    job = builders.add_job(uow_factory, house.tenant_id, units=3, created_at=now, expires_at=now + 30 * DAY)
    files = [upload_key(job.tenant_id, job.id, 0), export_key(job.tenant_id, job.id, 0)]
    for key in files:
        house.ctx.objects.put(key, b"files", media_type="application/zip")
    with uow_factory() as uow:
        uow.items.add(job.id, job.tenant_id, [ItemOutcome(f"sku-{n}", Outcome.FAILED, code="x") for n in range(9)])
        uow.commit()
    house.tidy_after(31 * DAY)
    assert all(map(house.ctx.objects.exists, files)), "it is not finished"
    with uow_factory() as uow:
        uow.jobs.set_state(job.id, JobState.SUCCEEDED)
        uow.commit()
    house.tidy_after(29 * DAY)
    assert all(map(house.ctx.objects.exists, files)), "kept for its whole time from its end"
    house.tidy_after(31 * DAY)
    assert not any(map(house.ctx.objects.exists, files))
    with uow_factory() as uow:
        assert uow.jobs.get(job.tenant_id, job.id) is None
        assert uow.units.open_kinds(job.id) == frozenset()


def test_a_large_job_is_taken_apart_first(house: House, uow_factory: UnitOfWorkFactory) -> None:
    job = builders.add_job(uow_factory, house.tenant_id, units=4)
    with uow_factory() as uow:
        uow.items.add(job.id, job.tenant_id, [ItemOutcome(f"sku-{n}", Outcome.FAILED, code="x") for n in range(5)])
        assert [uow.jobs.strip(job.id, limit=4) for _ in range(4)] == [4, 4, 1, 0]


def test_a_jobs_row_stays_as_long_as_its_files_cannot_be_deleted(house: House, uow_factory: UnitOfWorkFactory) -> None:
    now = datetime.now(UTC)
    job = builders.add_job(uow_factory, house.tenant_id, created_at=now - DAY, expires_at=now)
    key = upload_key(job.tenant_id, job.id, 0)
    house.ctx.objects.put(key, b"a shopper", media_type="image/jpeg")
    with uow_factory() as uow:
        uow.jobs.set_state(job.id, JobState.SUCCEEDED)
        uow.commit()
    failing = Watched(house.ctx.objects, lambda: None, fails=True)
    house.with_objects(cast("ObjectStore", failing)).tidy_after(2 * DAY)
    with uow_factory() as uow:
        assert uow.jobs.get(job.tenant_id, job.id) is not None
    house.tidy_after(2 * DAY)
    with uow_factory() as uow:
        assert uow.jobs.get(job.tenant_id, job.id) is None
    assert not house.ctx.objects.exists(key)


def test_files_of_a_request_that_died_before_its_job_was_stored_go_after_a_day(
    house: House, uow_factory: UnitOfWorkFactory
) -> None:
    orphan, kept = new_id(), builders.add_job(uow_factory, house.tenant_id).id
    keys = {job_id: upload_key(house.tenant_id, job_id, 0) for job_id in (orphan, kept)}
    for key in keys.values():
        house.ctx.objects.put(key, b"a shopper", media_type="image/jpeg")
    house.tidy_after(DAY - timedelta(hours=1))
    assert house.ctx.objects.exists(keys[orphan])
    house.tidy_after(DAY + timedelta(hours=1))
    assert (house.ctx.objects.exists(keys[orphan]), house.ctx.objects.exists(keys[kept])) == (False, True)
    assert abs(made_at(orphan) - datetime.now(UTC)) < timedelta(minutes=5)


def add_query(house: House, uow_factory: UnitOfWorkFactory, *, units: int = 0) -> tuple[Job, str]:
    """A query with its picture, as a request leaves it."""
    now = datetime.now(UTC)
    changes = {"kind": JobKind.QUERY, "created_at": now, "expires_at": now + DAY, "counters": Counters(total=0)}
    job = builders.add_job(uow_factory, house.tenant_id, units=units, **changes)
    key = upload_key(job.tenant_id, job.id, 0)
    house.ctx.objects.put(key, b"a shopper", media_type="image/jpeg")
    return job, key


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING])
def test_a_query_that_nobody_answered_ends_after_a_day_and_its_picture_goes(
    house: House, uow_factory: UnitOfWorkFactory, state: JobState
) -> None:
    job, key = add_query(house, uow_factory, units=1)
    with uow_factory() as uow:
        uow.jobs.set_state(job.id, state)
        uow.commit()
    house.tidy_after(DAY - timedelta(hours=1))
    assert house.ctx.objects.exists(key)
    house.tidy_after(DAY + timedelta(hours=1))
    assert not house.ctx.objects.exists(key)
    with uow_factory() as uow:
        ended = uow.jobs.get(job.tenant_id, job.id)
        assert uow.units.due() == {}
    assert ended is not None
    assert ended.state is (JobState.CANCELED if state is JobState.CANCELLING else JobState.FAILED)
    assert ended.error is not None
    assert ended.error["code"] == "unanswered"


def test_a_query_that_was_answered_late_is_kept_without_its_picture(
    house: House, uow_factory: UnitOfWorkFactory
) -> None:
    job, key = add_query(house, uow_factory)
    with uow_factory() as uow:
        uow.jobs.set_state(job.id, JobState.SUCCEEDED)
        uow.jobs.keep_until(job.id, datetime.now(UTC) + 2 * DAY)
        uow.commit()
    house.tidy_after(DAY + timedelta(hours=1))
    assert not house.ctx.objects.exists(key)
    with uow_factory() as uow:
        assert uow.jobs.get(job.tenant_id, job.id) is not None


def test_announced_uploads_go_when_their_time_is_over(house: House, uow_factory: UnitOfWorkFactory) -> None:
    now = datetime.now(UTC)
    uploads = [announced(house, now + days * DAY) for days in (1, 3)]
    for upload in uploads:
        house.ctx.objects.put(upload.key, b"pictures", media_type="application/zip")
    with uow_factory() as uow:
        uow.uploads.add(uploads)
        uow.commit()
    house.tidy_after(2 * DAY)
    assert [house.ctx.objects.exists(upload.key) for upload in uploads] == [False, True]
    with uow_factory() as uow:
        assert set(uow.uploads.find(house.gallery.id, [each.id for each in uploads])) == {uploads[1].id}


def announced(house: House, until: datetime) -> Upload:
    key = session_key(house.tenant_id, new_id(), 0)
    return Upload(new_id(), house.tenant_id, house.gallery.id, key, "a.zip", 8, None, until)


def test_idempotency_keys_go_after_a_day(house: House, uow_factory: UnitOfWorkFactory) -> None:
    with uow_factory() as uow:
        uow.idempotency.begin(house.tenant_id, "k", "body", lease=DAY)
        uow.commit()
    house.tidy_after(DAY + timedelta(hours=1))
    with uow_factory() as uow:
        assert uow.idempotency.begin(house.tenant_id, "k", "another body", lease=DAY) is None


def test_a_stop_is_heeded_between_batches(house: House) -> None:
    blob = house.store("left")
    house.clock.ahead = 2 * DAY
    upkeep.run(house.ctx, stopping=lambda: True)
    assert house.has_object(blob)
