"""Imports over HTTP."""

from io import BytesIO

import pytest

from core.models import Gallery, Queue
from tests.unit.api.conftest import Caller
from tests.unit.api.fakes import World
from tests.unit.api.test_errors import assert_problem

PATH = "/galleries/summer/imports"


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


def test_json_sources_come_later(call: Caller) -> None:
    body = assert_problem(call("POST", PATH, json={"source": {"urls": []}}), 415, "unsupported_media_type")
    assert "upload the files" in body["detail"]


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
