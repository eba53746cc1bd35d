"""Queries over HTTP, and what their results look like."""

import json
from dataclasses import replace
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from api.app import create_app
from api.schemas.queries import QueryResult, ResultOut
from core.ids import new_id
from core.models import Candidate, Gallery, JobStage, JobState
from core.settings import Settings
from tests.unit.api.conftest import Caller
from tests.unit.api.fakes import World
from tests.unit.api.test_errors import assert_problem

PATH = "/galleries/summer/queries"


@pytest.fixture(autouse=True)
def _image(gallery: Gallery, world: World) -> None:
    world.add_image(gallery, "sku-1", category="dress")


def params(world: World) -> dict[str, Any]:
    (job,) = world.store.jobs.rows.values()
    return job.params


def test_a_composed_query(call: Caller, world: World) -> None:
    body = {
        "reference": {"external_id": "sku-1", "region": [0.1, 0.1, 0.5, 0.5]},
        "text": "in red",
        "negative_text": "no logo",
        "filter": {"category": "dress", "price": {"lte": 80}},
        "top_k": 7,
        "group_by": "product_id",
        "collapse_duplicates": True,
        "strategy": "intersection",
        "rerank": {"depth": 30, "budget_seconds": 4},
        "explain": True,
    }
    response = call("POST", PATH, json=body)
    assert response.status_code == 202
    assert response.headers["Location"] == response.json["links"]["self"]
    stored = params(world)
    assert (stored["top_k"], stored["group_by"], stored["collapse_duplicates"]) == (7, "product_id", True)
    assert stored["rerank"] == {"depth": 30, "budget_s": 4}
    assert stored["filter"] == body["filter"]
    assert UUID(stored["reference_image_id"]) in world.store.images.rows


@pytest.mark.parametrize(
    ("rerank", "stored"),
    [
        (None, {"depth": 50, "budget_s": 20.0}),
        (True, {"depth": 50, "budget_s": 20.0}),
        (False, None),
        ({"depth": 3}, {"depth": 3, "budget_s": 20.0}),
    ],
)
def test_the_second_stage(call: Caller, world: World, rerank: Any, stored: Any) -> None:
    call("POST", PATH, json={"reference": {"external_id": "sku-1"}, "text": "red", "rerank": rerank})
    assert params(world)["rerank"] == stored


def test_an_uploaded_picture_with_flat_fields(call: Caller, world: World) -> None:
    data = {
        "reference_image": (BytesIO(b"picture"), "x.jpg"),
        "text": "in red",
        "top_k": "3",
        "explain": "true",
        "rerank": "false",
        "filter": '{"category": "dress"}',
        "reference": '{"region": [0, 0, 0.5, 0.5]}',
    }
    assert call("POST", PATH, data=data).status_code == 202
    stored = params(world)
    assert world.objects.held[stored["reference_object_key"]] == b"picture"
    assert (stored["top_k"], stored["explain"], stored["rerank"]) == (3, True, None)
    assert stored["filter"] == {"category": "dress"}
    assert list(stored["reference_region"]) == [0, 0, 0.5, 0.5]


@pytest.mark.parametrize("as_file", [True, False])
def test_an_uploaded_picture_with_a_json_part(call: Caller, world: World, *, as_file: bool) -> None:
    query = json.dumps({"text": "in red", "top_k": 3})
    part: Any = (BytesIO(query.encode()), "query.json", "application/json") if as_file else query
    data = {"reference_image": (BytesIO(b"picture"), "x.jpg"), "query": part}
    assert call("POST", PATH, data=data).status_code == 202
    assert (params(world)["text"], params(world)["top_k"]) == ("in red", 3)


@pytest.mark.parametrize(
    "fields",
    [
        {"query": "{"},
        {"query": "[]"},
        {"query": "{}", "text": "x"},
        {"filter": "nonsense"},
        {"top_k": "many"},
        {"reference": '{"external_id": "sku-1"}'},
        {"reference": '{"url": "https://shop.example/1.jpg"}'},
        {"colour": "red"},
        {"text": "a\0b"},
        {"picture": (BytesIO(b"x"), "x.jpg")},
    ],
)
def test_what_is_no_multipart_query(call: Caller, fields: dict[str, Any]) -> None:
    data = {"reference_image": (BytesIO(b"picture"), "x.jpg"), **fields}
    assert_problem(call("POST", PATH, data=data), 422, "invalid_input")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": ""},
        {"text": "x" * 2001},
        {"text": "x", "top_k": 0},
        {"text": "x", "top_k": 201},
        {"text": "x", "strategy": "magic"},
        {"text": "x", "strategy": "image"},
        {"text": "x", "filter": {"a": {"near": 1}}},
        {"text": "x", "filter": []},
        {"text": "x", "rerank": {"depth": 5}},
        {"reference": {}},
        {"reference": {"external_id": "a", "image_id": str(new_id())}},
        {"reference": {"external_id": "a", "url": "https://shop.example/1.jpg"}},
        {"reference": {"url": "file:///etc/passwd"}},
        {"reference": {"url": "s3://bucket/1.jpg"}},
        {"reference": {"url": "https://user:secret@shop.example/1.jpg"}},
        {"reference": {"url": "https://shop.example/" + "x" * 4096}},
        {"reference": {"external_id": "sku-1", "region": [0.9, 0, 0.5, 1]}},
        {"text": "x", "group_by": ""},
        {"text": "x", "unknown": 1},
    ],
)
def test_what_is_no_query(call: Caller, world: World, body: dict[str, Any]) -> None:
    assert_problem(call("POST", PATH, json=body), 422, "invalid_input")
    assert world.store.jobs.rows == {}


@pytest.mark.parametrize("as_part", [False, True])
def test_a_reference_by_url_is_left_to_a_worker(call: Caller, world: World, *, as_part: bool) -> None:
    url = "https://cdn.shop.example/1.jpg"
    body = {"reference": {"url": url, "region": [0, 0, 0.5, 1]}, "text": "in red"}
    sent: dict[str, Any] = (
        {"data": {"query": (BytesIO(json.dumps(body).encode()), "q.json")}} if as_part else {"json": body}
    )
    response = call("POST", PATH, **sent)
    assert (response.status_code, response.json["stage"]) == (202, "fetching")
    stored = params(world)
    assert (stored["reference_url"], list(stored["reference_region"])) == (url, [0, 0, 0.5, 1])
    assert stored["rerank"] is not None
    assert stored["reference_object_key"] not in world.objects.held
    (unit,) = world.store.units.rows
    assert (unit.kind, unit.queue) == ("reference", "maintenance")


def test_a_url_that_can_never_be_fetched_is_named(call: Caller) -> None:
    answer = call("POST", PATH, json={"reference": {"url": "ftp://shop.example/1.jpg"}})
    assert assert_problem(answer, 422, "invalid_input")["errors"][0]["pointer"] == "/reference/url"


def test_caption_needs_a_captioner(call: Caller, world: World) -> None:
    body = {"reference": {"external_id": "sku-1"}, "text": "red", "strategy": "caption"}
    refused = call("POST", PATH, json=body)
    assert_problem(refused, 422, "invalid_input")
    assert "SETR_CAPTIONER" in refused.json["detail"]
    enabled = Caller(create_app(world.context(Settings(captioner="demo"))).test_client(), call.key)
    assert enabled("POST", PATH, json=body).status_code == 202
    assert params(world)["strategy"] == "caption"


def test_an_unknown_reference(call: Caller) -> None:
    assert_problem(call("POST", PATH, json={"reference": {"external_id": "sku-9"}}), 404, "not_found")


def test_pictures_that_are_too_large_or_empty(call: Caller) -> None:
    picture = FileStorage(BytesIO(bytes(1024 * 1024 + 1)), "x.jpg")
    boundary, body = encode_multipart({"reference_image": picture})  # the test client itself would leak a file
    large = call("POST", PATH, data=body, content_type=f"multipart/form-data; boundary={boundary}")
    assert_problem(large, 413, "too_large")
    empty = call("POST", PATH, data={"reference_image": (BytesIO(b""), "x.jpg")})
    assert_problem(empty, 422, "invalid_input")


def test_results_join_ranks_with_images(call: Caller, world: World) -> None:
    job_id = UUID(call("POST", PATH, json={"text": "red"}).json["id"])
    (image,) = world.store.images.rows.values()
    gone = Candidate(image_id=new_id(), external_id="gone", coarse_rank=1, coarse_score=0.4, rank=1, score=0.99)
    found = Candidate(
        image_id=image.id, external_id="sku-1", coarse_rank=4, coarse_score=0.31, rank=2, score=0.97, p_yes=0.97
    )
    found = replace(found, group="p-1", group_images=3, duplicates=2)
    world.store.candidates.rows[job_id] = (gone, found)
    meta = {
        "reranked": True,
        "provisional": False,
        "reason": None,
        "strategy": "text",
        "index_id": str(new_id()),
        "timings_ms": {"encode": 21, "search": 4},
        "explanation": {"kept": [["dress", 0.8]], "dropped": []},
    }
    row = world.store.jobs.rows[job_id]
    world.store.jobs.rows[job_id] = replace(row, state=JobState.SUCCEEDED, result=meta, version=2)
    result = call("GET", f"/jobs/{job_id}").json["result"]
    QueryResult.model_validate(result, strict=False)
    (only,) = result.pop("results")
    assert result == meta
    assert only["rank"] == 1
    assert only["coarse"] == {"rank": 4, "score": 0.31}
    assert only["rerank"] == {"p_yes": 0.97}
    assert (only["group"], only["group_images"], only["duplicates"]) == ("p-1", 3, 2)
    assert set(only) == set(ResultOut.model_fields)
    assert only["attributes"] == {"category": "dress"}
    assert image.blob.sha256 in only["image_url"]
    assert "thumbnails" in only["thumbnail_url"]


def test_a_provisional_result_shows_while_the_judge_works(call: Caller, world: World) -> None:
    job_id = UUID(call("POST", PATH, json={"text": "red"}).json["id"])
    assert call("GET", f"/jobs/{job_id}").json["result"] is None
    row = world.store.jobs.rows[job_id]
    meta = {"reranked": False, "provisional": True, "strategy": "text"}
    world.store.jobs.rows[job_id] = replace(row, state=JobState.RUNNING, stage=JobStage.RERANKING, result=meta)
    body = call("GET", f"/jobs/{job_id}").json
    assert (body["stage"], body["result"]["provisional"]) == ("reranking", True)
    assert body["result"]["results"] == []
