"""The HTTP layer over real Postgres and S3."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest
from apiflask import APIFlask

from api.app import create_app
from core.context import Context
from core.ids import new_id
from core.keys import blob_key, thumbnail_key
from core.models import (
    Blob,
    ImageDraft,
    ItemOutcome,
    JobStage,
    JobState,
    Outcome,
    Queue,
    UnitKind,
    WorkerBeat,
)
from storage.engine import create_engine
from storage.uow import uow_factory
from tests.integration.api.conftest import caller

pytestmark = pytest.mark.integration
Call = Callable[..., Any]
KEY = {"Idempotency-Key": "one-of-a-kind"}


@pytest.fixture
def gallery(call: Call) -> str:
    assert call("POST", "/galleries", json={"name": "summer"}).status_code == 201
    return "summer"


def add_images(ctx: Context, gallery_id: UUID, count: int) -> list[str]:
    """Images as an embedding unit would leave them, bytes included."""
    names = [f"sku-{number:03d}" for number in range(count)]
    with ctx.uow() as uow:
        gallery = uow.galleries.by_id(gallery_id)
        assert gallery is not None
        drafts = []
        for number, name in enumerate(names):
            blob = Blob(sha256=f"{number:064x}", size_bytes=7, width=1, height=1, media_type="image/jpeg")
            drafts.append(ImageDraft(name, blob, {"price": number, "color": ["red", "blue"][number % 2]}))
            ctx.objects.put(blob_key(gallery.tenant_id, blob.sha256), b"content", media_type="image/jpeg")
            ctx.objects.put(thumbnail_key(gallery.tenant_id, blob.sha256), b"small", media_type="image/jpeg")
        uow.blobs.add(gallery.tenant_id, [draft.blob for draft in drafts])
        uow.images.upsert(gallery, drafts, job_id=new_id())
        uow.commit()
    return names


def gallery_id(call: Call, name: str) -> UUID:
    return UUID(call("GET", f"/galleries/{name}").json["id"])


def pages(call: Call, path: str, **query: str) -> Iterator[dict[str, Any]]:
    token: str | None = ""
    while token is not None:
        page = call("GET", path, query_string={**query, **({"page_token": token} if token else {})})
        assert page.status_code == 200, page.text
        yield page.json
        token = page.json["next_page_token"]


def test_galleries(call: Call) -> None:
    for name in ("winter", "summer", "autumn"):
        created = call("POST", "/galleries", json={"name": name, "attributes_schema": {"price": "number"}})
        assert created.status_code == 201
    assert call("POST", "/galleries", json={"name": "summer"}).status_code == 409
    seen = [item["name"] for page in pages(call, "/galleries", page_size="2") for item in page["items"]]
    assert seen == ["autumn", "summer", "winter"]
    tag = call("GET", "/galleries/summer").headers["ETag"]
    changed = call("PATCH", "/galleries/summer", json={"device": "cpu"}, headers={"If-Match": tag})
    assert (changed.status_code, changed.json["device"]) == (200, "cpu")
    assert changed.json["attributes_schema"] == {"price": "number"}
    assert call("DELETE", "/galleries/summer", headers={"If-Match": tag}).status_code == 412
    gone = call("DELETE", "/galleries/summer", headers={"If-Match": changed.headers["ETag"]})
    assert (gone.status_code, gone.json["kind"]) == (202, "delete")
    assert call("GET", "/galleries/summer").status_code == 404


def test_an_import_stores_files_job_and_unit(call: Call, ctx: Context, gallery: str) -> None:
    files = [(BytesIO(b"one"), "a/1.jpg"), (BytesIO(b"two"), "ü ☂.jpg")]
    job = call("POST", f"/galleries/{gallery}/imports", data={"file": files}).json
    with ctx.uow() as uow:
        unit = uow.units.claim([Queue.INGEST], worker="test", lease=timedelta(seconds=5))
        assert unit is not None
        assert (unit.job_id, unit.kind) == (UUID(job["id"]), UnitKind.PLAN)
    assert [file["filename"] for file in unit.payload["files"]] == ["a/1.jpg", "ü ☂.jpg"]
    assert [ctx.objects.get(file["key"]) for file in unit.payload["files"]] == [b"one", b"two"]
    assert ctx.doorbell.depth(Queue.INGEST) == 1
    polled = call("GET", f"/jobs/{job['id']}").json
    assert {**polled, "waiting_for": None} == job
    assert polled["waiting_for"]["queue"] == "ingest"
    assert polled["waiting_for"]["consumers"] == 0


def test_a_job_says_until_when_it_is_put_off(call: Call, ctx: Context, gallery: str) -> None:
    job = call("POST", f"/galleries/{gallery}/imports", data={"file": (BytesIO(b"x"), "a.jpg")}).json
    path = f"/jobs/{job['id']}"
    due = call("GET", path)
    with ctx.uow() as uow:
        unit = uow.units.claim([Queue.INGEST], worker="test", lease=timedelta(seconds=5))
        assert unit is not None
        assert uow.units.release(unit.id, unit.lease_token, delay=timedelta(minutes=5))
        uow.commit()
    put_off = call("GET", path, headers={"If-None-Match": due.headers["ETag"]})
    assert put_off.status_code == 200
    waiting = put_off.json["waiting_for"]
    assert (waiting["queue"], waiting["consumers"], waiting["since"]) == ("ingest", 0, None)
    assert waiting["until"] > due.json["waiting_for"]["since"]


def test_images(call: Call, ctx: Context, gallery: str) -> None:
    names = add_images(ctx, gallery_id(call, gallery), 10)
    path = f"/galleries/{gallery}/images"
    assert call("GET", f"/galleries/{gallery}").json["image_count"] == 10
    red = [item for page in pages(call, path, filter='{"color": "red"}', page_size="2") for item in page["items"]]
    assert [item["external_id"] for item in red] == names[::2]
    (image,) = call("GET", path, query_string={"external_id": "sku-003"}).json["items"]
    own = f"{path}/{image['id']}"
    tag = call("GET", own).headers["ETag"]
    patch = {"attributes": {"color": None, "note": "ü\n☂"}}
    changed = call("PATCH", own, json=patch, headers={"If-Match": tag})
    assert changed.json["attributes"] == {"price": 3, "note": "ü\n☂"}
    assert call("PATCH", own, json=patch, headers={"If-Match": tag}).status_code == 412
    content = call("GET", f"{own}/content")
    assert (content.data, content.content_type) == (b"content", "image/jpeg")
    assert call("GET", f"{own}/content", headers={"If-None-Match": content.headers["ETag"]}).status_code == 304
    assert call("GET", f"{own}/thumbnail").data == b"small"
    assert call("DELETE", own).status_code == 204
    assert call("GET", own).status_code == 404
    assert call("GET", f"{own}/content").status_code == 404


def test_pages_stay_stable_while_images_arrive(call: Call, ctx: Context, gallery: str) -> None:
    first_ten = add_images(ctx, gallery_id(call, gallery), 10)
    walk = pages(call, f"/galleries/{gallery}/images", page_size="4")
    seen = [item["external_id"] for item in next(walk)["items"]]
    call("POST", "/galleries", json={"name": "another"})
    add_images(ctx, gallery_id(call, gallery), 13)
    seen += [item["external_id"] for page in walk for item in page["items"]]
    assert len(seen) == len(set(seen)) == 13
    assert set(first_ten) <= set(seen)


def test_a_query_and_its_cancellation(call: Call, gallery: str) -> None:
    job = call("POST", f"/galleries/{gallery}/queries", json={"text": "red"}).json
    assert (job["kind"], job["progress"]["total"]) == ("query", 0)
    canceled = call("POST", f"/jobs/{job['id']}/cancel")
    assert (canceled.status_code, canceled.json["state"]) == (202, "canceled")
    ended = call("GET", f"/jobs/{job['id']}?wait=30")
    assert ended.json["state"] == "canceled"
    assert ended.json["finished_at"] is not None
    assert "Retry-After" not in ended.headers


def test_a_long_poll_sees_the_next_stage(call: Call, ctx: Context, gallery: str) -> None:
    job = call("POST", f"/galleries/{gallery}/queries", json={"text": "red"}).json
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(call, "GET", f"/jobs/{job['id']}?wait=30")
        with ctx.uow() as uow:
            uow.jobs.set_stage(UUID(job["id"]), JobStage.RERANKING)
            uow.commit()
        with ctx.uow() as uow:
            uow.jobs.set_state(UUID(job["id"]), JobState.SUCCEEDED)
            uow.commit()
        assert waiting.result(timeout=20).json["stage"] == "reranking"


def test_items_are_paged_and_exported(call: Call, ctx: Context, gallery: str) -> None:
    job = call("POST", f"/galleries/{gallery}/imports", data={"file": (BytesIO(b"x"), "a.jpg")}).json
    outcomes = [ItemOutcome(f"sku-{number}", Outcome.FAILED, "a.zip", "truncated", "…") for number in range(5)]
    with ctx.uow() as uow:
        row = uow.jobs.lock(UUID(job["id"]))
        assert row is not None
        uow.items.add(row.id, row.tenant_id, outcomes)
        uow.commit()
    path = f"/jobs/{job['id']}/items"
    seen = [item["external_id"] for page in pages(call, path, page_size="2") for item in page["items"]]
    assert seen == [outcome.external_id for outcome in outcomes]
    exported = call("GET", path, headers={"Accept": "text/csv"}).text.splitlines()
    assert exported[0] == "external_id,state,source,code,detail"
    assert len(exported) == 6


def test_jobs_are_listed_newest_first(call: Call, gallery: str) -> None:
    made = [call("POST", f"/galleries/{gallery}/queries", json={"text": str(n)}).json["id"] for n in range(5)]
    listed = [item["id"] for page in pages(call, "/jobs", page_size="2", kind="query") for item in page["items"]]
    assert listed == made[::-1]
    query = {"gallery": gallery, "state": "queued", "created_after": "2020-01-01T00:00:00+02:00", "kind": "query"}
    assert len(call("GET", "/jobs", query_string=query).json["items"]) == 5
    assert call("GET", "/jobs?created_after=2999-01-01T00:00:00Z").json["items"] == []


def test_of_many_equal_requests_at_once_one_counts(call: Call, gallery: str) -> None:
    def submit(_: int) -> Any:
        return call("POST", f"/galleries/{gallery}/queries", json={"text": "red"}, headers=KEY)

    with ThreadPoolExecutor(6) as pool:
        responses = list(pool.map(submit, range(12)))
    assert {response.status_code for response in responses} <= {202, 409}
    accepted = {response.json["id"] for response in responses if response.status_code == 202}
    assert len(accepted) == 1
    assert [item["id"] for item in call("GET", "/jobs").json["items"]] == list(accepted)
    again = submit(0)
    assert (again.json["id"], again.headers["Idempotent-Replayed"]) == (*accepted, "true")


def test_another_tenant_sees_nothing(call: Call, stranger: Call, ctx: Context, app: APIFlask, gallery: str) -> None:
    """Every path with parameters of the OpenAPI document, with ids that exist."""
    add_images(ctx, gallery_id(call, gallery), 1)
    (image,) = call("GET", f"/galleries/{gallery}/images").json["items"]
    job = call("POST", f"/galleries/{gallery}/queries", json={"text": "red"}).json
    index_id = call("GET", f"/galleries/{gallery}").json["active_index_id"]
    values = {"gallery": gallery, "image_id": image["id"], "job_id": job["id"], "index_id": index_id}
    bodies: dict[str, dict[str, Any]] = {
        "patch_gallery": {"json": {}},
        "patch_image": {"json": {"attributes": {"color": "stolen"}}},
        "create_query": {"json": {"text": "red"}},
        "create_query_batch": {"data": {"file": (BytesIO(b'{"text": "red"}'), "q.jsonl")}},
        "create_export": {"json": {}},
        "give_feedback": {"json": {"judgments": [{"external_id": "sku-1", "relevant": True}]}},
        "create_index": {"json": {}},
        "put_schedule": {"json": {"cron": "0 3 * * *", "source": {"urls": ["https://a.example/1.jpg"]}}},
        "create_uploads": {"json": {"files": [{"filename": "a.jpg", "size_bytes": 1}]}},
        "create_import": {"data": {"file": (BytesIO(b"x"), "a.jpg")}},
    }
    document = app.test_client().get("/openapi.json").get_json()
    assert isinstance(document, dict)
    tried = 0
    for path, item in document["paths"].items():
        if "{" not in path:
            continue
        for method, operation in item.items():
            body = bodies.get(operation["operationId"], {})
            response = stranger(method.upper(), path.format(**values), **body)
            assert response.status_code == 404, (method, path, response.text)
            tried += 1
    assert tried >= 14
    assert call("GET", f"/galleries/{gallery}/images/{image['id']}").json == image
    assert call("GET", f"/jobs/{job['id']}").json["state"] == "queued"
    assert stranger("GET", "/jobs").json["items"] == stranger("GET", "/galleries").json["items"] == []


def test_ready_when_workers_take_from_every_queue(ctx: Context, app: APIFlask) -> None:
    missing = app.test_client().get("/readyz").get_json()
    assert isinstance(missing, dict)
    failing = {check["name"] for check in missing["checks"] if not check["ok"]}
    assert failing == {f"queue:{queue}" for queue in Queue if queue is not Queue.EMBED_GPU}
    with ctx.uow() as uow:
        uow.workers.beat(WorkerBeat(name="w", queues=tuple(Queue), device="cpu", pid=1, host="h"))
        uow.commit()
    assert app.test_client().get("/readyz").status_code == 200


def test_of_two_changes_with_the_same_tag_one_wins(call: Call) -> None:
    call("POST", "/galleries", json={"name": "contested"})
    tag = call("GET", "/galleries/contested").headers["ETag"]

    def change(device: str) -> int:
        answer = call("PATCH", "/galleries/contested", json={"device": device}, headers={"If-Match": tag})
        return int(answer.status_code)

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(change, ["cpu", "gpu"] * 4))
    assert statuses == [200] + [412] * 7


def test_long_polls_hold_no_connection_while_they_wait(ctx: Context, call: Call, gallery: str) -> None:
    """Two waiters and a third request share one connection to Postgres."""
    job = call("POST", f"/galleries/{gallery}/queries", json={"text": "red"}).json
    engine = create_engine(ctx.settings.model_copy(update={"database_pool_size": 1}))
    lone = replace(ctx, uow=uow_factory(engine, ctx.settings))
    ask = caller(create_app(lone), lone, "shop")
    path = f"/jobs/{job['id']}"
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(ask, "GET", f"{path}?wait=30") for _ in range(2)]
        for _ in range(20):
            assert ask("GET", path).json["state"] == "queued"
        assert not any(each.done() for each in waiting)
        with ctx.uow() as uow:
            uow.jobs.set_state(UUID(job["id"]), JobState.CANCELED)
            uow.commit()
        assert {each.result(timeout=20).json["state"] for each in waiting} == {"canceled"}
    engine.dispose()


def test_an_export_and_its_link(call: Call, ctx: Context, gallery: str) -> None:
    job = call("POST", f"/galleries/{gallery}/exports", json={"callback_url": "https://shop.example/hook"}).json
    assert (job["kind"], job["links"]["deliveries"]) == ("export", f"{job['links']['self']}/deliveries")
    with ctx.uow() as uow:
        file = {"key": "tenants/x/part", "rows": 1, "size_bytes": 2}
        uow.jobs.set_result(UUID(job["id"]), {"format": "parquet", "rows": 1, "files": [file]})
        uow.commit()
    result = call("GET", f"/jobs/{job['id']}").json["result"]
    assert "Signature" in result["files"][0]["url"]
    assert call("GET", f"/jobs/{job['id']}/deliveries").json == {"items": []}
    call("POST", f"/jobs/{job['id']}/cancel")
    (delivery,) = call("GET", f"/jobs/{job['id']}/deliveries").json["items"]
    assert (delivery["state"], delivery["attempts"], delivery["url"]) == ("pending", 0, "https://shop.example/hook")


def test_every_job_takes_a_callback(call: Call, gallery: str) -> None:
    url = {"callback_url": "https://shop.example/hook"}
    made = [
        call("POST", f"/galleries/{gallery}/imports", data={"file": (BytesIO(b"x"), "a.jpg"), **url}),
        call("POST", f"/galleries/{gallery}/queries", json={"text": "red", **url}),
        call("POST", f"/galleries/{gallery}/queries", data={"text": "red", **url}, content_type="multipart/form-data"),
        call("POST", f"/galleries/{gallery}/exports", json=url),
        call("POST", f"/galleries/{gallery}/indexes", json=url),
        call("DELETE", f"/galleries/{gallery}", query_string=url),
    ]
    assert [each.status_code for each in made] == [202] * 6, [each.text for each in made]
    assert all(each.json["links"]["deliveries"] for each in made)


def test_a_webhook_secret_is_made_once_and_replaced_on_demand(call: Call, stranger: Call) -> None:
    first = call("GET", "/webhooks/secret")
    assert first.json["secret"].startswith("whsec_")
    assert first.headers["Cache-Control"] == "no-store"
    assert call("GET", "/webhooks/secret").json == first.json
    renewed = call("POST", "/webhooks/secret").json
    assert call("GET", "/webhooks/secret").json == renewed != first.json
    assert stranger("GET", "/webhooks/secret").json not in (first.json, renewed)


def test_indexes_are_listed_refused_and_retired(call: Call, stranger: Call, gallery: str) -> None:
    path = f"/galleries/{gallery}/indexes"
    (active,) = call("GET", path).json["items"]
    assert (active["state"], active["encoder"], active["pending"], active["built"]) == ("active", "demo", 0, 1.0)
    assert active["identity"] is None
    assert call("DELETE", f"{path}/{active['id']}").status_code == 409
    assert call("POST", f"{path}/{active['id']}/activate").json == active
    job = call("POST", path, json={"activate": "manual"})
    assert (job.status_code, job.json["kind"]) == (202, "reindex")
    assert call("POST", path, json={}).status_code == 409
    half = call("GET", path).json["items"][1]
    assert half["state"] == "building"
    assert call("POST", f"{path}/{half['id']}/activate").status_code == 409
    assert stranger("GET", f"{path}/{half['id']}").status_code == 404
    assert call("DELETE", f"{path}/{half['id']}").status_code == 204
    assert call("GET", f"/jobs/{job.json['id']}").json["state"] == "canceled"
    assert call("GET", f"{path}/{half['id']}").json["state"] == "dropped"
    assert [item["id"] for item in call("GET", path).json["items"]] == [active["id"]]
