"""Exports on real Postgres and S3: every image once, whatever dies or changes in between."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, BinaryIO, cast
from uuid import UUID, uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.local.services import RunningServices
from core import durable, exports, jobs
from core.context import Context, SystemClock
from core.durable import WorkerSlot
from core.errors import UnavailableError
from core.exporting import ExportHandler
from core.models import EncoderIdentity, Gallery, Job, JobState, Principal, Queue, UnitKind
from core.ports import Doorbell, ObjectStore, UnitOfWorkFactory
from storage.objects import S3ObjectStore
from tests.integration.core.test_durable import Bell
from tests.integration.storage import builders

pytestmark = pytest.mark.integration
DIM = 8
IDENTITY = EncoderIdentity("demo", "ViT", "ab" * 32, DIM, "squash")


@dataclass
class Shop:
    ctx: Context
    principal: Principal
    gallery: Gallery
    ids: dict[str, UUID]

    def submit(self, *, vectors: bool = True) -> Job:
        return exports.submit(self.ctx, self.principal, exports.NewExport(self.gallery.name, vectors=vectors))

    def run(self, *, times: int = 100) -> None:
        """Units of the maintenance queue, at most so many."""
        handlers = {UnitKind.EXPORT: ExportHandler(self.ctx)}
        slot = WorkerSlot("worker", (Queue.MAINTENANCE,), lambda: False, lambda: None)
        for _ in range(times):
            if not durable.run_one(self.ctx, handlers, slot):
                return

    def job(self, job: Job) -> Job:
        return jobs.get(self.ctx, self.principal, job.id)

    def table(self, job: Job) -> pa.Table:
        """All files of a finished export as one table."""
        result = self.job(job).result
        assert result is not None
        return pa.concat_tables(
            pq.read_table(io.BytesIO(self.ctx.objects.get(file["key"]))) for file in result["files"]
        )


@pytest.fixture
def shop(uow_factory: UnitOfWorkFactory, services: RunningServices, object_store: S3ObjectStore) -> Shop:
    settings = services.settings.model_copy(update={"export_rows": 10})
    ctx = Context(uow_factory, object_store, cast("Doorbell", Bell()), SystemClock(), settings)
    tenant_id = builders.add_tenant(uow_factory)
    gallery = builders.add_gallery(uow_factory, tenant_id)
    names = [f"sku-{number:02d}" for number in range(25)]
    ids = builders.add_images(uow_factory, gallery, names, [{"price": n, "name": "röd"} for n in range(25)])
    vectors = np.eye(25, DIM, dtype=np.float32)
    builders.add_active_index(
        uow_factory, gallery, IDENTITY, {ids[name]: vectors[number] for number, name in enumerate(names[:-1])}
    )
    return Shop(ctx, Principal(tenant_id, uuid4(), frozenset()), gallery, ids)


def test_every_image_with_its_vector(shop: Shop) -> None:
    job = shop.submit()
    shop.run()
    done = shop.job(job)
    assert done.state is JobState.SUCCEEDED
    assert (done.counters.total, done.counters.created) == (25, 25)
    assert done.result is not None
    assert [file["rows"] for file in done.result["files"]] == [10, 10, 5]
    table = shop.table(job)
    rows = {row["external_id"]: row for row in table.to_pylist()}
    assert {name: UUID(row["image_id"]) for name, row in rows.items()} == shop.ids
    assert json.loads(rows["sku-07"]["attributes"]) == {"price": 7, "name": "röd"}
    assert rows["sku-02"]["vector"] == [0, 0, 1, 0, 0, 0, 0, 0]
    assert rows["sku-24"]["vector"] is None
    about = json.loads(table.schema.metadata[b"setr"])
    assert (about["gallery"], about["encoder"]["weights_sha256"]) == ("summer", IDENTITY.weights_sha256)


def test_metadata_alone(shop: Shop) -> None:
    job = shop.submit(vectors=False)
    shop.run()
    assert set(shop.table(job)["vector"].to_pylist()) == {None}


def test_an_empty_gallery_has_no_files(shop: Shop) -> None:
    builders.add_gallery(shop.ctx.uow, shop.principal.tenant_id, "empty")
    job = exports.submit(shop.ctx, shop.principal, exports.NewExport("empty"))
    shop.run()
    done = shop.job(job)
    assert (done.state, done.counters.total, done.result) == (
        JobState.SUCCEEDED,
        0,
        {"format": "parquet", "rows": 0, "files": []},
    )


@dataclass
class Failing:
    """The bucket, which something befalls after a file was stored."""

    store: ObjectStore
    after_put: Callable[[], None]

    def put_stream(self, key: str, stream: BinaryIO, *, media_type: str) -> int:
        size = self.store.put_stream(key, stream, media_type=media_type)
        self.after_put()
        return size

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


def befallen(shop: Shop, after_put: Callable[[], None]) -> Shop:
    objects = cast("ObjectStore", Failing(shop.ctx.objects, after_put))
    return replace(shop, ctx=replace(shop.ctx, objects=objects))


def test_a_death_after_the_file_was_stored_counts_it_once(shop: Shop) -> None:
    job = shop.submit()
    shop.run(times=2)

    def die() -> None:
        raise UnavailableError("Right here.")

    befallen(shop, die).run(times=1)
    assert shop.job(job).counters.created == 10
    while shop.job(job).state is JobState.RUNNING:
        shop.run()
    assert sorted(shop.table(job)["image_id"].to_pylist()) == sorted(map(str, shop.ids.values()))
    assert shop.job(job).counters.created == 25


def test_what_changes_after_planning_neither_doubles_nor_moves_a_row(shop: Shop) -> None:
    job = shop.submit()
    shop.run(times=1)
    builders.add_images(shop.ctx.uow, shop.gallery, ["new"])
    gone = [shop.ids["sku-03"], shop.ids["sku-04"]]
    with shop.ctx.uow() as uow:
        uow.images.remove(shop.gallery.id, gone)
        uow.commit()
    shop.run()
    done = shop.job(job)
    assert (done.state, done.counters.total, done.counters.created, done.counters.deleted) == (
        JobState.SUCCEEDED,
        25,
        23,
        2,
    )
    kept = {str(image_id) for image_id in shop.ids.values() if image_id not in gone}
    assert sorted(shop.table(job)["image_id"].to_pylist()) == sorted(kept)


def test_a_result_has_a_url_for_each_file_only_when_it_is_read(shop: Shop) -> None:
    job = shop.submit()
    shop.run()
    done = shop.job(job)
    shown = exports.result(done, shop.ctx)
    assert shown is not None
    assert all("X-Amz-Signature" in file["url"] for file in shown["files"])
    hidden = exports.result(done)
    assert hidden is not None
    assert {file["url"] for file in hidden["files"]} == {None}


def test_a_deleted_gallery_ends_the_export(shop: Shop) -> None:
    job = shop.submit()
    with shop.ctx.uow() as uow:
        uow.galleries.update(replace(shop.gallery, deleting=True))
        uow.commit()
    shop.run()
    assert shop.job(job).state is JobState.FAILED
    assert timedelta(days=29) < shop.job(job).expires_at - SystemClock().now()
