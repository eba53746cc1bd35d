"""Query batches over HTTP: what is taken, what is refused, and what a finished one shows."""

from dataclasses import replace
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest
from apiflask import APIFlask

from api.schemas.queries import QueryBatchResult
from core.models import DEFERRED, Gallery, JobState
from tests.unit.api.conftest import Caller, get_json
from tests.unit.api.fakes import World
from tests.unit.api.test_errors import assert_problem

PATH = "/galleries/summer/query-batches"
QUERY = b'{"text": "red"}\n'


@pytest.fixture(autouse=True)
def _gallery(gallery: Gallery) -> None:
    del gallery


def sent(call: Caller, data: bytes, **fields: Any) -> Any:
    return call("POST", PATH, data={"file": (BytesIO(data), "queries.jsonl"), **fields})


def test_a_file_becomes_a_job_whose_units_cover_it(call: Caller, world: World) -> None:
    response = sent(call, QUERY * 70 + b"\n")
    assert response.status_code == 202
    body = response.json
    assert (body["kind"], body["stage"], body["progress"]["total"]) == ("query_batch", "searching", 70)
    (job,) = world.store.jobs.rows.values()
    assert world.objects.held[job.params["key"]] == QUERY * 70 + b"\n"
    assert (job.expires_at - job.created_at).total_seconds() == 24 * 3600
    first, second, result = world.store.units.rows
    assert (first.queue, first.size, first.payload) == (
        "query",
        64,
        {"first_line": 1, "offset": 0, "size_bytes": 64 * len(QUERY)},
    )
    assert (second.size, second.payload["first_line"], second.payload["offset"]) == (6, 65, 64 * len(QUERY))
    assert (result.kind, result.queue, result.not_before) == ("batch_result", "maintenance", DEFERRED)


def test_a_callback_is_kept(call: Caller, world: World) -> None:
    assert sent(call, QUERY, callback_url="https://shop.example/hook").status_code == 202
    assert [job.callback_url for job in world.store.jobs.rows.values()] == ["https://shop.example/hook"]


def test_the_same_key_brings_the_same_job(call: Caller, world: World) -> None:
    answers = [
        call("POST", PATH, data={"file": (BytesIO(QUERY), "q.jsonl")}, headers={"Idempotency-Key": "one"})
        for _ in range(2)
    ]
    assert answers[0].json["id"] == answers[1].json["id"]
    assert len(world.store.jobs.rows) == 1


@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_a_file_without_queries_is_refused(call: Caller, world: World, data: bytes) -> None:
    assert_problem(sent(call, data), 422, "invalid_input")
    assert world.store.jobs.rows == {}


@pytest.mark.parametrize("fields", [{"top_k": "3"}, {"query": (BytesIO(b"{}"), "q")}])
def test_strange_fields_are_refused(call: Caller, fields: dict[str, Any]) -> None:
    assert_problem(sent(call, QUERY, **fields), 422, "invalid_input")


def test_other_refusals(call: Caller) -> None:
    assert_problem(call("POST", PATH, json={"text": "red"}), 415, "unsupported_media_type")
    assert_problem(
        call("POST", PATH, data={"file": [(BytesIO(QUERY), "a"), (BytesIO(QUERY), "b")]}), 422, "invalid_input"
    )
    missing = call("POST", "/galleries/none/query-batches", data={"file": (BytesIO(QUERY), "q.jsonl")})
    assert_problem(missing, 404, "not_found")


def test_the_file_is_documented(app: APIFlask) -> None:
    spec = get_json(app, "/openapi.json")
    operation = spec["paths"]["/galleries/{gallery}/query-batches"]["post"]
    assert operation["operationId"] == "create_query_batch"
    assert "file" in operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert "QueryBatchResult" in spec["components"]["schemas"]


def test_the_result_has_a_url_when_it_is_read(call: Caller, world: World) -> None:
    job_id = UUID(sent(call, QUERY).json["id"])
    assert call("GET", f"/jobs/{job_id}").json["result"] is None
    stored = {"format": "ndjson", "lines": 1, "size_bytes": 9, "key": "tenants/t/results.ndjson"}
    row = world.store.jobs.rows[job_id]
    world.store.jobs.rows[job_id] = replace(row, state=JobState.SUCCEEDED, result=stored, version=2)
    shown = QueryBatchResult.model_validate(call("GET", f"/jobs/{job_id}").json["result"])
    assert shown.url == "http://bucket.test/tenants/t/results.ndjson?expires=900"
