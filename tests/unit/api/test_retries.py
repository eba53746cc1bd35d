"""Mirror imports and retries over HTTP."""

from dataclasses import replace
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest

from core.models import Counters, Gallery, ItemOutcome, JobState, Outcome, Queue
from tests.unit.api.conftest import Caller
from tests.unit.api.fakes import World
from tests.unit.api.test_errors import assert_problem

PATH = "/galleries/summer/imports"


@pytest.fixture(autouse=True)
def _gallery(gallery: Gallery) -> None:
    assert gallery.name == "summer"


@pytest.fixture
def job(call: Caller) -> dict[str, Any]:
    body: dict[str, Any] = call("POST", PATH, data={"file": (BytesIO(b"one"), "1.jpg")}).json
    return body


def end(world: World, job: dict[str, Any], *, planned: dict[str, Any] | None) -> None:
    row = world.store.jobs.rows[UUID(job["id"])]
    world.store.jobs.rows[row.id] = replace(
        row, state=JobState.PARTIALLY_SUCCEEDED, counters=Counters(total=2, created=1, failed=1)
    )
    world.store.items.rows.append((row.id, ItemOutcome("1.jpg", Outcome.FAILED, code="x", planned=planned)))


@pytest.mark.parametrize(
    ("sent", "share"), [({}, 0.2), ({"max_delete_share": "0.5"}, 0.5), ({"max_delete_share": "1"}, 1)]
)
def test_a_mirror_import_carries_its_guard(call: Caller, world: World, sent: dict[str, str], share: float) -> None:
    data = {"file": (BytesIO(b"one"), "1.jpg"), "mode": "mirror", **sent}
    assert call("POST", PATH, data=data).status_code == 202
    (row,) = world.store.jobs.rows.values()
    assert (row.params["mode"], row.params["max_delete_share"]) == ("mirror", share)


@pytest.mark.parametrize(
    "sent",
    [
        {"mode": "mirror", "max_delete_share": "1.1"},
        {"mode": "mirror", "max_delete_share": "-0.1"},
        {"mode": "mirror", "max_delete_share": "nan"},
        {"mode": "mirror", "max_delete_share": "much"},
        {"mode": "upsert", "max_delete_share": "0.5"},
        {"max_delete_share": "0.5"},
    ],
)
def test_shares_that_make_no_sense(call: Caller, world: World, sent: dict[str, str]) -> None:
    response = call("POST", PATH, data={"file": (BytesIO(b"one"), "1.jpg"), **sent})
    body = assert_problem(response, 422, "invalid_input")
    assert body["errors"][0]["pointer"] == "/max_delete_share"
    assert world.store.jobs.rows == {}


def test_what_failed_is_retried_by_a_new_job(call: Caller, world: World, job: dict[str, Any]) -> None:
    assert job["links"]["retry"] is None
    end(world, job, planned={"external_id": "1.jpg"})
    link = call("GET", f"/jobs/{job['id']}").json["links"]["retry"]
    assert link == f"http://localhost/jobs/{job['id']}/retry"
    response = call("POST", f"/jobs/{job['id']}/retry")
    assert response.status_code == 202
    again = response.json
    assert again["id"] != job["id"]
    assert response.headers["Location"].endswith(f"/jobs/{again['id']}")
    assert (again["kind"], again["state"], again["gallery"]) == ("import", "queued", "summer")
    assert world.doorbell.rung == [Queue.INGEST, Queue.INGEST]
    assert call("POST", f"/jobs/{job['id']}/retry").json["id"] == again["id"]


def test_a_retry_calls_back(call: Caller, world: World, job: dict[str, Any]) -> None:
    end(world, job, planned={"external_id": "1.jpg"})
    path, hook = f"/jobs/{job['id']}/retry", {"callback_url": "https://shop.example/hook"}
    problem = assert_problem(call("POST", path, query_string={"callback_url": "shop.example"}), 422, "invalid_input")
    assert problem["errors"][0]["pointer"] == "/callback_url"
    again = call("POST", path, query_string=hook).json
    assert world.store.jobs.rows[UUID(again["id"])].callback_url == hook["callback_url"]
    assert [call("POST", path, query_string=query).json["id"] for query in (hook, {})] == [again["id"], again["id"]]
    other = call("POST", path, query_string={"callback_url": "https://shop.example/other"})
    assert again["id"] in assert_problem(other, 409, "conflict")["detail"]
    assert len(world.store.jobs.rows) == 2


def test_a_key_makes_one_retry_of_two_requests(call: Caller, world: World, job: dict[str, Any]) -> None:
    end(world, job, planned={"external_id": "1.jpg"})
    answers = [call("POST", f"/jobs/{job['id']}/retry", headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].json == answers[1].json
    assert answers[1].headers["Idempotent-Replayed"] == "true"


def test_a_job_that_runs_is_not_retried(call: Caller, job: dict[str, Any]) -> None:
    body = assert_problem(call("POST", f"/jobs/{job['id']}/retry"), 409, "conflict")
    assert "still runs" in body["detail"]


def test_nothing_to_retry(call: Caller, world: World, job: dict[str, Any]) -> None:
    end(world, job, planned=None)
    body = assert_problem(call("POST", f"/jobs/{job['id']}/retry"), 409, "conflict")
    assert "could change" in body["detail"]


def test_a_strangers_job_is_not_there(stranger: Caller, world: World, job: dict[str, Any]) -> None:
    end(world, job, planned={"external_id": "1.jpg"})
    assert_problem(stranger("POST", f"/jobs/{job['id']}/retry"), 404, "not_found")
