"""Feedback on results over HTTP."""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from apiflask import APIFlask

from core.access import hash_key
from core.models import Gallery, JobKind, JobState, Scope
from tests.unit.api.conftest import Caller, get_json
from tests.unit.api.fakes import World
from tests.unit.api.test_errors import assert_problem

RESULT: dict[str, Any] = {"reranked": False}
PATH = "/galleries/summer/feedback"


@pytest.fixture(autouse=True)
def _images(world: World, gallery: Gallery) -> None:
    for name in ("sku-1", "sku-2", "sku-3"):
        world.add_image(gallery, name)


def asked(call: Caller, world: World, **query: Any) -> UUID:
    """A query that has ended."""
    body = {"reference": {"external_id": "sku-1"}, "text": "in red"} | query
    made = call("POST", "/galleries/summer/queries", json=body)
    assert made.status_code == 202, made.json
    row = world.store.jobs.rows[UUID(made.json["id"])]
    world.store.jobs.rows[row.id] = replace(row, state=JobState.SUCCEEDED, result=RESULT)
    return row.id


def judge(call: Caller, job_id: UUID, **judged: Any) -> Any:
    judgments = [{"external_id": name.replace("_", "-"), "relevant": relevant} for name, relevant in judged.items()]
    return call("POST", f"/jobs/{job_id}/feedback", json={"judgments": judgments})


def lines(call: Caller, **options: str) -> list[dict[str, Any]]:
    answer = call("GET", PATH, query_string=options)
    assert (answer.status_code, answer.mimetype) == (200, "application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_judgements_are_stored_once_and_may_change(call: Caller, world: World) -> None:
    job_id = asked(call, world)
    first = judge(call, job_id, sku_2=True, sku_3=False)
    assert (first.status_code, first.json) == (200, {"stored": 2, "changed": 0, "unchanged": 0, "triplets": True})
    again = judge(call, job_id, sku_2=True, sku_3=True)
    assert again.json == {"stored": 0, "changed": 1, "unchanged": 1, "triplets": True}
    assert lines(call) == [
        {
            "reference": "sku-1",
            "text": "in red",
            "external_id": name,
            "relevant": True,
            "job_id": str(job_id),
            "judged_at": "2026-11-23T12:00:00Z",
        }
        for name in ("sku-2", "sku-3")
    ]


def test_what_is_no_image_of_the_gallery_is_named_and_nothing_is_stored(call: Caller, world: World) -> None:
    body = assert_problem(judge(call, asked(call, world), sku_2=True, lost=True, gone=False), 422, "invalid_input")
    assert [error["pointer"] for error in body["errors"]] == ["/judgments/1/external_id", "/judgments/2/external_id"]
    assert "lost" in body["errors"][0]["detail"]
    assert lines(call, incomplete="true") == []


@pytest.mark.parametrize(
    "query", [{"text": None}, {"reference": None}, {"reference": {"external_id": "sku-1", "region": [0, 0, 0.5, 1]}}]
)
def test_what_makes_no_triplet_is_kept_apart(call: Caller, world: World, query: dict[str, Any]) -> None:
    assert judge(call, asked(call, world, **query), sku_2=True).json["triplets"] is False
    assert lines(call) == []
    (row,) = lines(call, incomplete="true")
    assert None in {row["reference"], row["text"]}


def test_since_when(call: Caller, world: World) -> None:
    judge(call, asked(call, world), sku_2=True)
    assert len(lines(call, since="2026-11-23T12:00:00Z")) == 1
    assert lines(call, since="2026-11-23T12:00:01Z") == []
    assert_problem(call("GET", PATH, query_string={"since": "yesterday"}), 422, "invalid_input")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"state": JobState.RUNNING}, "still runs"),
        ({"state": JobState.FAILED, "result": None}, "send it again"),
        ({"kind": JobKind.IMPORT}, "judge those of a single query"),
        ({"kind": JobKind.QUERY_BATCH}, "judge those of a single query"),
    ],
)
def test_jobs_without_a_final_order(call: Caller, world: World, changes: dict[str, Any], says: str) -> None:
    job_id = asked(call, world)
    world.store.jobs.rows[job_id] = replace(world.store.jobs.rows[job_id], **changes)
    assert says in assert_problem(judge(call, job_id, sku_2=True), 409, "conflict")["detail"]


def test_a_deleted_gallery(call: Caller, world: World, gallery: Gallery) -> None:
    job_id = asked(call, world)
    world.store.galleries.rows[gallery.tenant_id, gallery.name] = replace(gallery, deleting=True)
    assert_problem(judge(call, job_id, sku_2=True), 404, "not_found")
    assert_problem(call("GET", PATH), 404, "not_found")


def test_another_tenants_query_and_gallery_do_not_exist(call: Caller, stranger: Caller, world: World) -> None:
    assert_problem(judge(stranger, asked(call, world), sku_2=True), 404, "not_found")
    assert_problem(stranger("GET", PATH), 404, "not_found")


@pytest.mark.parametrize(
    "judgments",
    [
        [],
        [{"external_id": "sku-2", "relevant": True}] * 2,
        [{"external_id": "sku-2", "relevant": "yes"}],
        [{"external_id": "sku-2"}],
        [{"external_id": f"sku-{number}", "relevant": True} for number in range(501)],
    ],
)
def test_bodies_that_are_refused(call: Caller, world: World, judgments: list[dict[str, Any]]) -> None:
    response = call("POST", f"/jobs/{asked(call, world)}/feedback", json={"judgments": judgments})
    assert_problem(response, 422, "invalid_input")
    assert world.store.feedback.rows == {}


@pytest.mark.parametrize(("scope", "expected"), [(Scope.QUERY, (200, 403)), (Scope.READ, (403, 200))])
def test_scopes(app: APIFlask, call: Caller, world: World, scope: Scope, expected: tuple[int, int]) -> None:
    job_id = asked(call, world)
    tenant_id = world.store.jobs.rows[job_id].tenant_id
    world.store.api_keys.add_key(tenant_id, key_sha256=hash_key("one"), scopes=[scope], label="test")
    one = Caller(app.test_client(), "one")
    assert (judge(one, job_id, sku_2=True).status_code, one("GET", PATH).status_code) == expected


def test_more_than_a_page_is_streamed(call: Caller, world: World, gallery: Gallery) -> None:
    names = [f"many-{number}" for number in range(400)]
    for name in names:
        world.add_image(gallery, name)
    for _ in range(3):
        assert judge(call, asked(call, world), **dict.fromkeys(names, True)).json["stored"] == len(names)
    assert [row["external_id"] for row in lines(call)] == names * 3


def test_the_document_says_what_a_line_holds(app: APIFlask) -> None:
    spec = get_json(app, "/openapi.json")
    content = spec["paths"]["/galleries/{gallery}/feedback"]["get"]["responses"]["200"]["content"]
    example = json.loads(content["application/x-ndjson"]["example"])
    assert set(example) == set(spec["components"]["schemas"]["JudgmentOut"]["properties"])
