"""Jobs over HTTP."""

import csv
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import StringIO
from typing import Any
from uuid import UUID

import pytest

from core.models import Counters, Gallery, ItemOutcome, Job, JobState, Outcome, Queue
from tests.unit.api.conftest import Caller
from tests.unit.api.fakes import World
from tests.unit.api.test_errors import assert_problem


@pytest.fixture
def job(call: Caller, gallery: Gallery) -> dict[str, Any]:
    body: dict[str, Any] = call("POST", f"/galleries/{gallery.name}/queries", json={"text": "red"}).json
    return body


def change(world: World, job: dict[str, Any], **values: Any) -> None:
    row = world.store.jobs.rows[UUID(job["id"])]
    world.store.jobs.rows[row.id] = replace(row, version=row.version + 1, **values)


def test_the_body_is_what_was_promised(call: Caller, job: dict[str, Any], world: World) -> None:
    change(world, job, counters=Counters(total=10, created=3, failed=1))
    body = call("GET", f"/jobs/{job['id']}").json
    assert list(body) == [
        "id", "kind", "state", "stage", "gallery", "created_at", "started_at", "finished_at", "expires_at",
        "progress", "waiting_for", "eta_seconds", "result", "error", "warnings", "links",
    ]  # fmt: skip
    assert body["progress"] == {
        "total": 10, "created": 3, "updated": 0, "unchanged": 0, "deleted": 0, "failed": 1, "canceled": 0, "pending": 6,
    }  # fmt: skip
    assert body["created_at"] == "2026-11-23T12:00:00Z"
    url = f"http://localhost/jobs/{job['id']}"
    links = {"self": url, "items": f"{url}/items", "cancel": f"{url}/cancel", "retry": None, "deliveries": None}
    assert body["links"] == links


def test_links_follow_the_public_url(call: Caller, job: dict[str, Any]) -> None:
    body = call("GET", f"/jobs/{job['id']}", headers={"Host": "shop.example"}).json
    assert body["links"]["self"].startswith("http://shop.example/jobs/")


def test_it_says_what_it_waits_for(call: Caller, job: dict[str, Any], world: World) -> None:
    body = call("GET", f"/jobs/{job['id']}").json
    assert body["waiting_for"] == {"queue": "query", "consumers": 0, "since": "2026-11-23T12:00:00Z", "until": None}
    world.store.workers.counts[Queue.QUERY] = 2
    assert call("GET", f"/jobs/{job['id']}").json["waiting_for"]["consumers"] == 2


def test_an_etag_changes_with_the_job(call: Caller, job: dict[str, Any], world: World) -> None:
    path = f"/jobs/{job['id']}"
    first = call("GET", path)
    seen = {"If-None-Match": first.headers["ETag"]}
    unchanged = call("GET", path, headers=seen)
    assert (unchanged.status_code, unchanged.data) == (304, b"")
    assert unchanged.headers["Retry-After"] == first.headers["Retry-After"]
    change(world, job, counters=Counters(total=3))
    assert call("GET", path, headers=seen).status_code == 200


def test_retry_after_ends_with_the_job(call: Caller, job: dict[str, Any], world: World) -> None:
    assert int(call("GET", f"/jobs/{job['id']}").headers["Retry-After"]) > 0
    change(world, job, state=JobState.FAILED, error={"code": "x", "detail": "y"})
    ended = call("GET", f"/jobs/{job['id']}?wait=30")
    assert "Retry-After" not in ended.headers
    assert ended.json["error"] == {"code": "x", "detail": "y"}


@pytest.mark.parametrize("wait", ["-1", "31", "nan", "inf", "soon"])
def test_waits_are_bounded(call: Caller, job: dict[str, Any], wait: str) -> None:
    assert_problem(call("GET", f"/jobs/{job['id']}?wait={wait}"), 422, "invalid_input")


def test_over_the_cap_a_long_poll_answers_at_once(call: Caller, job: dict[str, Any], app: Any, world: World) -> None:
    polls, entered = app.extensions["setr"].polls, threading.Semaphore(0)

    def read() -> Job:
        entered.release()
        return world.store.jobs.rows[UUID(job["id"])]

    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(polls.wait, read, 30)
            assert entered.acquire(timeout=30)
        before = world.store.jobs.reads
        assert call("GET", f"/jobs/{job['id']}?wait=30").status_code == 200
        assert world.store.jobs.reads == before + 1
        change(world, job, state=JobState.FAILED, error={"code": "x", "detail": "y"})


def test_listing(call: Caller, job: dict[str, Any]) -> None:
    page = call("GET", "/jobs", query_string={"kind": "query", "created_after": "2026-01-01T00:00:00Z"}).json
    assert [item["id"] for item in page["items"]] == [job["id"]]
    assert call("GET", "/jobs?kind=import").json["items"] == []


@pytest.mark.parametrize(
    "query", ["state=lost", "kind=x", "created_after=yesterday", "created_after=2026-01-01", "gallery=%00"]
)
def test_what_is_no_filter(call: Caller, query: str) -> None:
    assert_problem(call("GET", f"/jobs?{query}"), 422, "invalid_input")


def test_items_as_json_lines_and_table(call: Caller, job: dict[str, Any], world: World) -> None:
    expected = [
        {
            "external_id": f"sku,{number}",
            "state": "failed",
            "source": f"a.zip:{number}",
            "code": "truncated",
            "detail": "…",
        }
        for number in range(2500)
    ]
    world.store.items.rows += [
        (UUID(job["id"]), ItemOutcome(row["external_id"], Outcome.FAILED, row["source"], row["code"], row["detail"]))
        for row in expected
    ]
    path = f"/jobs/{job['id']}/items"
    page = call("GET", path, query_string={"state": "failed", "page_size": "2"}).json
    assert page["items"] == expected[:2]
    following = {"state": "failed", "page_token": page["next_page_token"]}
    assert call("GET", path, query_string=following).json["items"][0] == expected[2]
    lines = call("GET", path, headers={"Accept": "application/x-ndjson"})
    assert lines.content_type.startswith("application/x-ndjson")
    assert [json.loads(line) for line in lines.text.splitlines()] == expected
    table = call("GET", path, headers={"Accept": "text/csv"})
    assert list(csv.DictReader(StringIO(table.text))) == expected
    assert call("GET", path, query_string={"state": "unchanged"}).json == {"items": [], "next_page_token": None}


@pytest.mark.parametrize("state", ["created", "updated", "deleted", "canceled", "lost"])
def test_items_are_not_asked_for_by_an_outcome_that_is_never_listed(
    call: Caller, job: dict[str, Any], state: str
) -> None:
    problem = assert_problem(
        call("GET", f"/jobs/{job['id']}/items", query_string={"state": state}), 422, "invalid_input"
    )
    (error,) = problem["errors"]
    assert error["pointer"] == "/state"
    assert "'unchanged' or 'failed'" in error["detail"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_a_table_is_a_formula(call: Caller, job: dict[str, Any], world: World, start: str) -> None:
    """Ids and reasons come from whoever wrote the manifest; the table is opened by somebody else."""
    name = f'{start}HYPERLINK("http://evil.test")'
    world.store.items.rows.append((UUID(job["id"]), ItemOutcome(name, Outcome.FAILED, name, "truncated", name)))
    path = f"/jobs/{job['id']}/items"
    (row,) = csv.DictReader(StringIO(call("GET", path, headers={"Accept": "text/csv"}).text, newline=""))
    assert {row["external_id"], row["source"], row["detail"]} == {f"'{name}"}
    assert json.loads(call("GET", path, headers={"Accept": "application/x-ndjson"}).text)["external_id"] == name


def test_cancel(call: Caller, job: dict[str, Any]) -> None:
    canceled = call("POST", f"/jobs/{job['id']}/cancel")
    assert (canceled.status_code, canceled.json["state"]) == (202, "canceled")
    again = call("POST", f"/jobs/{job['id']}/cancel")
    assert (again.status_code, again.json["state"]) == (202, "canceled")
