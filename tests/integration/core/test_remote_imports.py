"""Imports from URLs, buckets and upload sessions: real Postgres, S3 and a real web server, in one process."""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from minio import Minio
from sqlalchemy import Engine, text

from cli.local.services import RunningServices
from core import imports, uploads
from core.context import Context, SystemClock
from core.errors import InvalidInputError
from core.imports import NewImport
from core.ingest import PAUSES, FetchHandler
from core.models import Job, JobState, UnitKind
from core.planning import PlanHandler
from core.ports import Fetch, Fetched, UnitOfWorkFactory
from core.reading import Remotes
from core.uploads import NewUpload
from storage.buckets import S3SourceBuckets
from storage.objects import S3ObjectStore, s3_client
from storage.web.fetcher import HttpFetcher
from tests.integration.core.importing import Shop, jsonl, open_shop, picture
from tests.integration.core.test_durable import Bell
from tests.integration.storage import builders
from tests.web import Exchange, WebServer, web_server

pytestmark = pytest.mark.integration

COLOURS = ("red", "green", "blue", "white", "black", "orange", "purple")
BUCKET = "catalog"


class CountingStore(S3ObjectStore):
    """Notes the keys that are put."""

    puts: list[str]

    def put(self, key: str, data: bytes, *, media_type: str) -> None:
        self.puts.append(key)
        super().put(key, data, media_type=media_type)


class CountingBuckets(S3SourceBuckets):
    """Notes the keys that are asked for, and those whose object was sent."""

    asked: list[str]
    sent: list[str]

    def read(self, bucket: str, key: str, *, max_bytes: int, known_etag: str = "") -> Fetch:
        self.asked.append(key)
        answer = super().read(bucket, key, max_bytes=max_bytes, known_etag=known_etag)
        if isinstance(answer, Fetched):
            self.sent.append(key)
        return answer


@dataclass
class World:
    shop: Shop
    site: WebServer
    objects: CountingStore
    buckets: CountingBuckets
    s3: Minio
    remotes: Remotes

    def submit(self, **source: Any) -> UUID:
        return imports.submit(self.shop.ctx, self.shop.principal, NewImport(self.shop.gallery.name, **source)).id

    def imported(self, **source: Any) -> Job:
        return self.shop.ended(self.submit(**source))

    def store(self, key: str, data: bytes) -> None:
        self.s3.put_object(BUCKET, key, io.BytesIO(data), len(data))

    def manifest(self, *names: str, color: str = "any") -> dict[str, bytes]:
        rows = [{"external_id": name, "image": self.site.url(f"/{name}.png"), "color": color} for name in names]
        return {"m.jsonl": jsonl(*rows)}

    def open_prefixes(self, *prefixes: str) -> None:
        """As after a restart with other SETR_IMPORT_PREFIXES."""
        settings = self.shop.ctx.settings.model_copy(update={"import_prefixes": {"shop": list(prefixes)}})
        self.shop.ctx = replace(self.shop.ctx, settings=settings)
        self.shop.handlers[UnitKind.PLAN] = PlanHandler(self.shop.ctx, self.remotes)

    def forget(self) -> None:
        self.site.forget()
        self.objects.puts.clear()
        self.buckets.asked.clear()
        self.buckets.sent.clear()

    def make_due(self, job_id: UUID) -> None:
        self.shop.let_go(job_id)


@pytest.fixture
def world(uow_factory: UnitOfWorkFactory, engine: Engine, services: RunningServices) -> Iterator[World]:
    with web_server() as site:
        changes = {
            "unit_items": 4,
            "ingest_batch": 3,
            "fetch_networks": "127.0.0.1",
            "fetch_ports": str(site.port),
            "import_prefixes": {"shop": [f"s3://{BUCKET}/open/"]},
        }
        settings = services.settings.model_copy(update=changes)
        objects = CountingStore(settings)
        objects.puts = []
        objects.ensure_bucket()
        ctx = Context(uow_factory, objects, Bell(), SystemClock(), settings)
        shop = open_shop(ctx, engine, builders.add_tenant(uow_factory, "shop"))
        buckets = CountingBuckets(settings)
        buckets.asked, buckets.sent = [], []
        web = HttpFetcher(settings)
        remotes = Remotes(web, buckets)
        shop.handlers[UnitKind.PLAN] = PlanHandler(ctx, remotes)
        shop.handlers[UnitKind.FETCH] = FetchHandler(ctx, remotes)
        s3 = s3_client(settings, settings.s3_endpoint)
        if not s3.bucket_exists(BUCKET):
            s3.make_bucket(BUCKET)
        yield World(shop, site, objects, buckets, s3, remotes)
        web.close()
        objects.delete(list(objects.keys("")))
        for found in list(s3.list_objects(BUCKET, recursive=True)):
            s3.remove_object(BUCKET, found.object_name or "")


def progress(job: Job) -> dict[str, int]:
    counted = job.counters
    names = ("created", "updated", "unchanged", "failed")
    return {name: getattr(counted, name) for name in names if getattr(counted, name)}


# URLs


def test_a_nightly_manifest_downloads_only_what_changed(world: World) -> None:
    world.site.pages |= {f"/{colour}.png": picture(colour) for colour in COLOURS}
    first = world.shop.imported(world.manifest(*COLOURS))
    assert (first.state, progress(first)) == (JobState.SUCCEEDED, {"created": 7})
    assert world.shop.contents() == {colour: picture(colour) for colour in COLOURS}

    world.forget()
    assert progress(world.shop.imported(world.manifest(*COLOURS))) == {"unchanged": 7}
    assert len(world.site.asked) == 7
    assert (world.site.bodies, world.objects.puts) == ([], [])

    world.forget()
    assert progress(world.shop.imported(world.manifest(*COLOURS, color="new"))) == {"updated": 7}
    assert (world.site.bodies, world.objects.puts) == ([], [])

    world.forget()
    world.site.pages["/red.png"] = picture("pink")
    assert progress(world.shop.imported(world.manifest(*COLOURS, color="new"))) == {"updated": 1, "unchanged": 6}
    assert world.site.bodies == ["/red.png"]
    assert world.shop.contents()["red"] == picture("pink")


def test_what_was_replaced_by_other_means_is_fetched_again(world: World) -> None:
    world.site.pages["/red.png"] = picture("red")
    world.shop.imported(world.manifest("red"))
    world.shop.imported({"m.jsonl": jsonl({"external_id": "red", "image": "x.png"}), "x.png": picture("grey")})
    world.forget()
    assert progress(world.shop.imported(world.manifest("red"))) == {"updated": 1}
    assert world.site.bodies == ["/red.png"]
    assert world.shop.contents() == {"red": picture("red")}


def test_what_was_deleted_is_fetched_again(world: World) -> None:
    world.site.pages["/red.png"] = picture("red")
    world.shop.imported(world.manifest("red"))
    world.shop.imported({"m.jsonl": jsonl({"external_id": "red", "operation": "delete"})})
    assert progress(world.shop.imported(world.manifest("red"))) == {"created": 1}


def test_the_same_picture_at_a_new_address_is_unchanged_and_not_stored_again(world: World) -> None:
    world.site.pages |= {"/red.png": picture("red"), "/moved/red.png": picture("red")}
    world.shop.imported(world.manifest("red"))
    world.forget()
    row = {"external_id": "red", "image": world.site.url("/moved/red.png"), "color": "any"}
    assert progress(world.shop.imported({"m.jsonl": jsonl(row)})) == {"unchanged": 1}
    assert (world.site.bodies, world.objects.puts) == (["/moved/red.png"], [])


def test_a_list_of_urls(world: World) -> None:
    world.site.pages |= {"/p/1.png": picture("red"), "/p/2.png": picture("green")}
    urls = [world.site.url("/p/1.png"), world.site.url("/p/2.png"), world.site.url("/p/none.png")]
    job = world.imported(urls=urls)
    assert (job.state, progress(job)) == (JobState.PARTIALLY_SUCCEEDED, {"created": 2, "failed": 1})
    assert set(world.shop.contents()) == {"p/1.png", "p/2.png"}
    (item,) = world.shop.failed(job.id)
    assert (item.external_id, item.source, item.code) == ("p/none.png", urls[2], "url_not_found")


def test_a_url_that_begins_like_a_comment_fails_alone_but_in_a_list_it_is_one(world: World) -> None:
    world.site.pages["/p/1.png"] = picture("red")
    urls = ["#spring", world.site.url("/p/1.png")]
    job = world.imported(urls=urls)
    assert progress(job) == {"created": 1, "failed": 1}
    assert [(item.source, item.code) for item in world.shop.failed(job.id)] == [("#spring", "bad_url")]
    assert progress(world.shop.imported({"urls.txt": "\n".join(urls).encode()})) == {"unchanged": 1}


def test_urls_that_lead_nowhere_fail_each_with_its_code(world: World) -> None:
    world.site.pages |= {
        "/page.png": b"<!doctype html><html></html>",
        "/empty.png": b"",
        "/moved.png": lambda exchange: exchange.reply(302, headers={"Location": "http://169.254.169.254/"}),
        "/closed.png": lambda exchange: exchange.reply(403),
        "/odd.png": lambda exchange: exchange.reply(418),
        "/large.png": lambda exchange: exchange.reply(200, headers={"Content-Length": str(10**10)}),
        "/good.png": picture("red"),
    }
    paths = ("page", "empty", "moved", "closed", "odd", "large", "good", "none")
    rows = [{"external_id": path, "image": world.site.url(f"/{path}.png")} for path in paths]
    rows += [{"external_id": "private", "image": f"http://10.0.0.1:{world.site.port}/"}]
    rows += [{"external_id": "port", "image": "http://127.0.0.1:22/"}]
    job = world.shop.imported({"m.jsonl": jsonl(*rows)})
    assert world.shop.items(job.id) == {
        "page": ("failed", "not_an_image"),
        "empty": ("failed", "empty_file"),
        "moved": ("failed", "url_refused"),
        "closed": ("failed", "url_denied"),
        "odd": ("failed", "url_failed"),
        "large": ("failed", "url_too_large"),
        "none": ("failed", "url_not_found"),
        "private": ("failed", "url_refused"),
        "port": ("failed", "url_refused"),
    }
    assert set(world.shop.contents()) == {"good"}


# servers that are busy


def busy(exchange: Exchange) -> None:
    exchange.reply(503, headers={"Retry-After": "500"})


def test_a_busy_server_is_tried_later_and_holds_nobody_up(world: World) -> None:
    world.site.pages |= {"/red.png": busy, "/green.png": picture("green")}
    job_id = world.shop.submit(world.manifest("red", "green"))
    world.shop.run()
    job = world.shop.job(job_id)
    assert (job.state, job.counters.created, job.counters.pending) == (JobState.RUNNING, 1, 1)
    with world.shop.engine.connect() as connection:
        wait = "SELECT extract(epoch FROM not_before - now()) FROM work_units WHERE state = 'pending'"
        assert 400 < connection.execute(text(wait)).scalar_one() <= 500
    world.site.pages["/red.png"] = picture("red")
    world.make_due(job_id)
    assert progress(world.shop.ended(job_id)) == {"created": 2}


def test_a_server_that_stays_busy_fails_its_pictures_in_the_end(world: World) -> None:
    world.site.pages["/red.png"] = busy
    job_id = world.shop.submit(world.manifest("red"))
    world.shop.run()
    for _ in PAUSES:
        assert world.shop.job(job_id).state is JobState.RUNNING
        world.make_due(job_id)
        world.shop.run()
    assert world.shop.items(job_id) == {"red": ("failed", "url_unavailable")}
    assert world.shop.job(job_id).state is JobState.FAILED

    world.site.pages["/red.png"] = picture("red")
    retry = world.shop.retry(job_id)
    assert progress(world.shop.ended(retry.id)) == {"created": 1}


# buckets


def test_a_prefix_is_imported_and_then_only_listed(world: World) -> None:
    world.store("open/summer/1.png", picture("red"))
    world.store("open/summer/sub/2 b.png", picture("green"))
    world.store("open/winter/3.png", picture("blue"))
    job = world.imported(s3_prefix=f"s3://{BUCKET}/open/summer/")
    assert progress(job) == {"created": 2}
    assert world.shop.contents() == {"1.png": picture("red"), "sub/2 b.png": picture("green")}

    world.forget()
    assert progress(world.imported(s3_prefix=f"s3://{BUCKET}/open/summer/")) == {"unchanged": 2}
    assert (world.buckets.asked, world.objects.puts) == ([], [])

    world.store("open/summer/1.png", picture("pink"))
    assert progress(world.imported(s3_prefix=f"s3://{BUCKET}/open/summer/")) == {"updated": 1, "unchanged": 1}
    assert world.buckets.asked == ["open/summer/1.png"]


def test_a_mirrored_prefix_removes_what_is_gone(world: World) -> None:
    for name in ("1", "2"):
        world.store(f"open/{name}.png", picture("red"))
    world.imported(s3_prefix=f"s3://{BUCKET}/open/")
    world.s3.remove_object(BUCKET, "open/2.png")
    job = world.imported(s3_prefix=f"s3://{BUCKET}/open/", mode="mirror", max_delete_share=0.5)
    assert (job.counters.unchanged, job.counters.deleted) == (1, 1)
    assert set(world.shop.contents()) == {"1.png"}


def test_rows_may_name_objects(world: World) -> None:
    world.store("open/1.png", picture("red"))
    world.store("secret/2.png", picture("green"))
    rows = [
        {"external_id": name, "image": f"s3://{BUCKET}/{key}"}
        for name, key in (("a", "open/1.png"), ("b", "secret/2.png"), ("c", "open/none.png"))
    ]
    first = world.shop.imported({"m.jsonl": jsonl(*rows)})
    assert progress(first) == {"created": 1, "failed": 2}
    assert world.shop.items(first.id) == {"b": ("failed", "bucket_refused"), "c": ("failed", "object_not_found")}
    assert world.buckets.sent == ["open/1.png"]


def test_a_retry_reads_only_what_is_open_by_then(world: World) -> None:
    prefix = f"s3://{BUCKET}/open/"
    world.store("open/1.png", b"no picture yet")
    first = world.imported(s3_prefix=prefix)
    assert world.shop.items(first.id) == {"1.png": ("failed", "not_an_image")}
    world.store("open/1.png", picture("red"))

    world.forget()
    world.open_prefixes()
    refused = world.shop.ended(world.shop.retry(first.id).id)
    assert world.shop.items(refused.id) == {"1.png": ("failed", "bucket_refused")}
    assert world.buckets.asked == []

    world.open_prefixes(prefix)
    assert progress(world.shop.ended(world.shop.retry(refused.id).id)) == {"created": 1}


def test_an_object_that_rows_name_is_sent_once(world: World) -> None:
    world.store("open/1.png", picture("red"))
    row = {"external_id": "a", "image": f"s3://{BUCKET}/open/1.png"}
    world.shop.imported({"m.jsonl": jsonl(row)})

    world.forget()
    assert progress(world.shop.imported({"m.jsonl": jsonl(row)})) == {"unchanged": 1}
    assert progress(world.shop.imported({"m.jsonl": jsonl(row | {"color": "red"})})) == {"updated": 1}
    assert world.buckets.asked == ["open/1.png"] * 2
    assert (world.buckets.sent, world.objects.puts) == ([], [])


def test_a_bucket_that_is_not_there_fails_the_job(world: World) -> None:
    world.open_prefixes("s3://not-there/")
    job = world.imported(s3_prefix="s3://not-there/")
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert "cannot be listed" in job.error["detail"]


def test_an_empty_prefix_is_no_import(world: World) -> None:
    job = world.imported(s3_prefix=f"s3://{BUCKET}/open/nothing/")
    assert job.state is JobState.FAILED


# upload sessions


def announced(world: World, *files: tuple[str, bytes], **changes: Any) -> list[UUID]:
    new = [NewUpload(name, len(data), **changes) for name, data in files]
    made = uploads.announce(world.shop.ctx, world.shop.principal, world.shop.gallery.name, new)
    for one, (_, data) in zip(made, files, strict=True):
        assert httpx.put(one.url, content=data).status_code == 200
    return [one.upload.id for one in made]


def test_uploads_are_imported_like_files_of_a_request(world: World) -> None:
    rows = jsonl({"external_id": "a", "image": "1.png"}, {"external_id": "b", "image": "2.png"})
    files = [("m.jsonl", rows), ("1.png", picture("red")), ("2.png", picture("green"))]
    ids = announced(world, *files)
    assert progress(world.imported(upload_ids=ids)) == {"created": 2}
    world.objects.puts.clear()
    assert progress(world.imported(upload_ids=ids)) == {"unchanged": 2}
    assert progress(world.imported(upload_ids=announced(world, *files))) == {"unchanged": 2}
    assert world.objects.puts == []


def test_the_announced_checksum_is_compared(world: World) -> None:
    data = picture("red")
    right = announced(world, ("1.png", data), sha256=hashlib.sha256(data).hexdigest())
    wrong = announced(world, ("1.png", data), sha256="0" * 64)
    assert progress(world.imported(upload_ids=right)) == {"created": 1}
    job = world.imported(upload_ids=wrong)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert "sha256" in job.error["detail"]


def test_uploads_that_did_not_arrive_are_named(world: World) -> None:
    new = [NewUpload("1.png", 5)]
    (made,) = uploads.announce(world.shop.ctx, world.shop.principal, world.shop.gallery.name, new)
    with pytest.raises(InvalidInputError) as caught:
        world.submit(upload_ids=[made.upload.id])
    assert [error.pointer for error in caught.value.errors] == ["/source/upload_ids/0"]


def test_uploads_are_kept_for_as_long_as_what_failed_of_their_import_can_be_retried(world: World) -> None:
    ids = announced(world, ("1.png", picture("red")), ("bad.png", b"no picture"))

    def kept_until() -> set[datetime]:
        with world.shop.ctx.uow() as uow:
            return {upload.expires_at for upload in uow.uploads.find(world.shop.gallery.id, ids).values()}

    first = world.imported(upload_ids=ids)
    assert kept_until() == {first.expires_at}
    retry = world.shop.retry(first.id)
    assert kept_until() == {world.shop.job(first.id).expires_at}
    assert world.shop.ended(retry.id).expires_at < world.shop.job(first.id).expires_at
    assert world.shop.items(retry.id) == {"bad.png": ("failed", "not_an_image")}
