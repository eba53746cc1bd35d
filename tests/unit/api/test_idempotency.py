"""Idempotency-Key."""

from io import BytesIO
from typing import Any

import pytest

from core.models import Gallery
from core.ports import SavedResponse
from tests.unit.api.conftest import Caller
from tests.unit.api.fakes import World
from tests.unit.api.test_errors import assert_problem

KEY = {"Idempotency-Key": "9f0c6c1e-0000-4000-8000-000000000001"}


def import_of(content: bytes, *, name: str = "a.jpg", mode: str = "upsert") -> dict[str, Any]:
    return {"data": {"file": (BytesIO(content), name), "mode": mode}, "headers": KEY}


def test_the_first_response_comes_again(call: Caller, gallery: Gallery, world: World) -> None:
    path = f"/galleries/{gallery.name}/queries"
    first = call("POST", path, json={"text": "red"}, headers=KEY)
    again = call("POST", path, json={"text": "red"}, headers=KEY)
    assert first.status_code == again.status_code == 202
    assert first.data == again.data
    assert first.headers["Location"] == again.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(world.store.jobs.rows) == 1


def test_without_a_key_each_request_counts(call: Caller, gallery: Gallery, world: World) -> None:
    for _ in range(2):
        call("POST", f"/galleries/{gallery.name}/queries", json={"text": "red"})
    assert len(world.store.jobs.rows) == 2


def test_another_body_is_refused(call: Caller, gallery: Gallery) -> None:
    path = f"/galleries/{gallery.name}/queries"
    call("POST", path, json={"text": "red"}, headers=KEY)
    assert_problem(call("POST", path, json={"text": "blue"}, headers=KEY), 422, "idempotency_key_reused")


def test_another_path_is_another_request(call: Caller, gallery: Gallery) -> None:
    call("POST", f"/galleries/{gallery.name}/queries", json={"text": "red"}, headers=KEY)
    response = call("POST", "/galleries", json={"name": "winter"}, headers=KEY)
    assert_problem(response, 422, "idempotency_key_reused")


def test_the_same_files_are_the_same_request(call: Caller, gallery: Gallery, world: World) -> None:
    path = f"/galleries/{gallery.name}/imports"
    first = call("POST", path, **import_of(b"picture"))
    again = call("POST", path, **import_of(b"picture"))
    assert first.json["id"] == again.json["id"]
    assert len(world.store.jobs.rows) == 1


@pytest.mark.parametrize("other", [import_of(b"other"), import_of(b"picture", name="b.jpg")])
def test_other_files_are_refused(call: Caller, gallery: Gallery, other: dict[str, Any]) -> None:
    path = f"/galleries/{gallery.name}/imports"
    call("POST", path, **import_of(b"picture"))
    assert_problem(call("POST", path, **other), 422, "idempotency_key_reused")


def test_a_running_first_request_is_a_conflict(call: Caller, gallery: Gallery, world: World) -> None:
    path = f"/galleries/{gallery.name}/queries"
    call("POST", path, json={"text": "red"}, headers=KEY)
    ((where, saved),) = world.store.idempotency.rows.items()
    running = SavedResponse(fingerprint=saved.fingerprint, status=None, body=None, headers={})
    world.store.idempotency.rows[where] = running
    assert_problem(call("POST", path, json={"text": "red"}, headers=KEY), 409, "conflict")


def test_a_failed_request_leaves_its_key_free(call: Caller, world: World) -> None:
    response = call("POST", "/galleries/missing/queries", json={"text": "red"}, headers=KEY)
    assert_problem(response, 404, "not_found")
    assert world.store.idempotency.rows == {}
    assert call("POST", "/galleries", json={"name": "missing"}, headers=KEY).status_code == 201


def test_keys_belong_to_tenants(call: Caller, stranger: Caller) -> None:
    assert call("POST", "/galleries", json={"name": "summer"}, headers=KEY).status_code == 201
    theirs = stranger("POST", "/galleries", json={"name": "winter"}, headers=KEY)
    assert theirs.json["name"] == "winter"


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "tab\there"])
def test_what_is_no_key(call: Caller, key: str) -> None:
    response = call("POST", "/galleries", json={"name": "summer"}, headers={"Idempotency-Key": key})
    assert_problem(response, 422, "invalid_input")


def test_a_quoted_key_is_the_same_key(call: Caller) -> None:
    call("POST", "/galleries", json={"name": "summer"}, headers={"Idempotency-Key": '"abc"'})
    again = call("POST", "/galleries", json={"name": "summer"}, headers={"Idempotency-Key": "abc"})
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.status_code == 201
