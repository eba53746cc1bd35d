"""Imports over HTTP."""

from dataclasses import replace
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest

from core.models import Gallery, Queue
from tests.unit.api.conftest import Caller
from tests.unit.api.fakes import NOW, World
from tests.unit.api.test_errors import assert_problem

PATH = "/galleries/summer/imports"
UPLOADS = "/galleries/summer/uploads"


@pytest.fixture(autouse=True)
def _gallery(gallery: Gallery) -> None:
    assert gallery.name == "summer"


def test_files_become_a_job(call: Caller, world: World) -> None:
    files = [(BytesIO(b"one"), "a/1.jpg"), (BytesIO(b"two"), "2.jpg")]
    response = call("POST", PATH, data={"file": files, "mode": "upsert"})
    assert response.status_code == 202
    job = response.json
    assert response.headers["Location"] == job["links"]["self"] == f"http://localhost/jobs/{job['id']}"
    assert int(response.headers["Retry-After"]) > 0
    assert (job["kind"], job["state"], job["stage"], job["gallery"]) == ("import", "queued", "planning", "summer")
    assert job["progress"]["total"] is None
    assert job["warnings"] == []
    assert sorted(world.objects.held.values()) == [b"one", b"two"]
    (unit,) = world.store.units.rows
    assert [file["filename"] for file in unit.payload["files"]] == ["a/1.jpg", "2.jpg"]
    assert world.doorbell.rung == [Queue.INGEST]


def stored_files(world: World) -> list[dict[str, object]]:
    (unit,) = world.store.units.rows
    return list(unit.payload["files"])


def test_urls_become_a_stored_list(call: Caller, world: World) -> None:
    urls = ["https://cdn.example/1.jpg", "https://cdn.example/2.jpg?v=1"]
    response = call("POST", PATH, json={"source": {"urls": urls}, "mode": "mirror", "max_delete_share": 0.5})
    assert response.status_code == 202
    (file,) = stored_files(world)
    assert (file["filename"], file["sha256"]) == ("urls.txt", None)
    assert list(world.objects.held.values()) == ["\n".join(urls).encode()]
    (job,) = world.store.jobs.rows.values()
    assert (job.params["mode"], job.params["max_delete_share"]) == ("mirror", 0.5)


def test_a_prefix_that_the_operator_opened(call: Caller, world: World) -> None:
    response = call("POST", PATH, json={"source": {"s3_prefix": "s3://catalog/shop/summer/"}})
    assert response.status_code == 202
    (job,) = world.store.jobs.rows.values()
    assert (job.params["s3_prefix"], job.params["files"]) == ("s3://catalog/shop/summer/", [])


@pytest.mark.parametrize(
    "prefix", ["s3://catalog/other/", "s3://setr/tenants/", "s3://catalog/shop/../x", "catalog/shop/"]
)
def test_a_prefix_that_nobody_opened(call: Caller, world: World, prefix: str) -> None:
    body = assert_problem(call("POST", PATH, json={"source": {"s3_prefix": prefix}}), 422, "invalid_input")
    assert body["errors"][0]["pointer"] == "/source/s3_prefix"
    assert world.store.jobs.rows == {}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"source": {}},
        {"source": {"urls": []}},
        {"source": {"urls": ["https://a.example/1.jpg"], "s3_prefix": "s3://catalog/shop/"}},
        {"source": {"urls": [""]}},
        {"source": {"urls": ["https://a.example/1.jpg\nhttps://a.example/2.jpg"]}},
        {"source": {"urls": ["x" * 5000]}},
        {"source": {"files": []}},
        {"source": {"upload_ids": ["nonsense"]}},
        {"source": {"upload_ids": [str(UUID(int=1))]}},
        {"source": {"upload_ids": [str(UUID(int=1))] * 2}},
        {"source": {"urls": ["https://a.example/1.jpg"]}, "mode": "destroy"},
        {"source": {"urls": ["https://a.example/1.jpg"]}, "max_delete_share": 0.5},
        [],
    ],
)
def test_what_is_no_source(call: Caller, world: World, document: object) -> None:
    assert_problem(call("POST", PATH, json=document), 422, "invalid_input")
    assert world.store.jobs.rows == {}


def test_a_source_too_large(call: Caller, world: World) -> None:
    said = {"CONTENT_LENGTH": str(17 * 1024 * 1024)}
    response = call("POST", PATH, content_type="application/json", environ_overrides=said)
    assert_problem(response, 413, "too_large")
    assert world.store.jobs.rows == {}


def test_neither_form_nor_json(call: Caller) -> None:
    assert_problem(call("POST", PATH, data="x", content_type="text/csv"), 415, "unsupported_media_type")


# upload sessions


def announce(call: Caller, **file: object) -> dict[str, Any]:
    response = call("POST", UPLOADS, json={"files": [{"filename": "a.zip", "size_bytes": 3} | file]})
    assert response.status_code == 201, response.text
    (upload,) = response.json["uploads"]
    assert isinstance(upload, dict)
    return upload


def test_announced_files_get_a_url_each(call: Caller, world: World) -> None:
    files = [{"filename": "1.jpg", "size_bytes": 1}, {"filename": "b/2.jpg", "size_bytes": 2, "sha256": "0" * 64}]
    response = call("POST", UPLOADS, json={"files": files})
    assert response.status_code == 201
    uploads = response.json["uploads"]
    assert [(one["filename"], one["size_bytes"], one["method"]) for one in uploads] == [
        ("1.jpg", 1, "PUT"),
        ("b/2.jpg", 2, "PUT"),
    ]
    assert len({one["url"] for one in uploads}) == 2
    assert {str(upload_id) for upload_id in world.store.uploads.rows} == {one["id"] for one in uploads}
    assert all("/sessions/" in one["url"] for one in uploads)


def test_what_arrived_is_imported(call: Caller, world: World) -> None:
    upload = announce(call, sha256="0" * 64)
    (row,) = world.store.uploads.rows.values()
    world.objects.held[row.key] = b"zip"
    response = call("POST", PATH, json={"source": {"upload_ids": [upload["id"]]}})
    assert response.status_code == 202
    expected = {"filename": "a.zip", "key": row.key, "size_bytes": 3, "sha256": "0" * 64, "comments": True}
    assert stored_files(world) == [expected]
    assert world.store.uploads.rows[row.id].expires_at > row.expires_at


@pytest.mark.parametrize(("held", "problem"), [(None, "has not arrived"), (b"zi", "has 2 bytes, but 3")])
def test_what_did_not_arrive_whole(call: Caller, world: World, held: bytes | None, problem: str) -> None:
    upload = announce(call)
    (row,) = world.store.uploads.rows.values()
    if held is not None:
        world.objects.held[row.key] = held
    body = assert_problem(call("POST", PATH, json={"source": {"upload_ids": [upload["id"]]}}), 422, "invalid_input")
    (error,) = body["errors"]
    assert error["pointer"] == "/source/upload_ids/0"
    assert problem in error["detail"]
    assert world.store.jobs.rows == {}


def test_an_upload_that_expired(call: Caller, world: World) -> None:
    upload = announce(call)
    (row,) = world.store.uploads.rows.values()
    world.objects.held[row.key] = b"zip"
    world.store.uploads.rows[row.id] = replace(row, expires_at=NOW)
    body = assert_problem(call("POST", PATH, json={"source": {"upload_ids": [upload["id"]]}}), 422, "invalid_input")
    assert "expired" in body["errors"][0]["detail"]


def test_an_upload_of_another_gallery(call: Caller, world: World) -> None:
    upload = announce(call)
    assert call("POST", "/galleries", json={"name": "winter"}).status_code == 201
    body = {"source": {"upload_ids": [upload["id"]]}}
    assert_problem(call("POST", "/galleries/winter/imports", json=body), 422, "invalid_input")
    assert world.store.jobs.rows == {}


@pytest.mark.parametrize(
    "files",
    [
        [],
        [{"filename": "a.jpg"}],
        [{"filename": "a.jpg", "size_bytes": 0}],
        [{"filename": "a.jpg", "size_bytes": 2 * 1024 * 1024}],
        [{"filename": "", "size_bytes": 1}],
        [{"filename": "a\tb", "size_bytes": 1}],
        [{"filename": "a.jpg", "size_bytes": 1, "sha256": "F" * 64}],
        [{"filename": f"{number}.jpg", "size_bytes": 1} for number in range(1001)],
    ],
)
def test_what_cannot_be_announced(call: Caller, world: World, files: object) -> None:
    assert_problem(call("POST", UPLOADS, json={"files": files}), 422, "invalid_input")
    assert world.store.uploads.rows == {}


def test_too_large_for_this_operator(call: Caller, world: World) -> None:
    said = {"CONTENT_LENGTH": str(2 * 1024 * 1024)}
    response = call("POST", PATH, content_type="multipart/form-data; boundary=x", environ_overrides=said)
    assert_problem(response, 413, "too_large")
    assert world.objects.held == {}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"mode": "upsert"},
        {"file": [(BytesIO(b"x"), "a\tb.jpg")]},
        {"file": [(BytesIO(b"x"), "x" * 513)]},
        {"files": [(BytesIO(b"x"), "a.jpg")]},
        {"file": [(BytesIO(b"x"), "a.jpg")], "mod": "mirror"},
        {"file": [(BytesIO(b"x"), "a.jpg")], "mode": "destroy"},
    ],
)
def test_what_is_no_import(call: Caller, world: World, data: dict[str, object]) -> None:
    response = call("POST", PATH, data=data, content_type="multipart/form-data")
    assert_problem(response, 422, "invalid_input")
    assert world.store.jobs.rows == {}


def test_a_broken_multipart_body(call: Caller) -> None:
    response = call("POST", PATH, data=b"--x\r\nnonsense", content_type="multipart/form-data; boundary=x")
    assert response.status_code in {400, 422}
    assert response.content_type == "application/problem+json"


def test_a_broker_that_is_away_costs_nothing(call: Caller, world: World) -> None:
    world.doorbell.available = False
    assert call("POST", PATH, data={"file": (BytesIO(b"one"), "1.jpg")}).status_code == 202
