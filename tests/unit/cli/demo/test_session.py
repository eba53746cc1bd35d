from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from rich.console import Console

from cli.client import ApiClient
from cli.demo.queries import DemoQuery
from cli.demo.session import ask_all, import_catalog, lost_items
from cli.transport import ClientError
from cli.wire import Job
from tests.unit.cli.scripted import KEY, URL, ScriptedServer, answer_json, job_json, problem, result_json

QUERIES = "/galleries/demo/queries"


@pytest.fixture
def client(server: ScriptedServer) -> ApiClient:
    return ApiClient(URL, KEY, transport=server)


@pytest.fixture
def quiet() -> Console:
    return Console(quiet=True)


def query(text: str) -> DemoQuery:
    return DemoQuery(kind="composed", text=text, reference="p1", intended=frozenset({"p2"}))


def test_answers_come_in_the_order_of_the_queries(client: ApiClient, server: ScriptedServer) -> None:
    server.on("POST", QUERIES, httpx.Response(202, json=job_json("queued", kind="query")))
    done = {**job_json(kind="query", created=1), "result": answer_json([result_json(1, "p2", coarse=3)])}
    server.on("GET", "/jobs/job-1", httpx.Response(200, json=done))
    steps: list[int] = []
    asked = ask_all(client, [query(str(number)) for number in range(9)], top_k=50, on_done=steps.append)
    assert [each.query.text for each in asked] == [str(number) for number in range(9)]
    assert {(each.rank, each.coarse_rank) for each in asked} == {(1, 3)}
    assert steps == list(range(1, 10))
    body = server.bodies("POST", QUERIES)[0]
    assert (body["reference"], body["top_k"], body["rerank"]["depth"]) == ({"external_id": "p1"}, 50, 50)


def test_a_failed_query_stops_the_demo_with_its_reason(client: ApiClient, server: ScriptedServer) -> None:
    server.on("POST", QUERIES, httpx.Response(202, json=job_json("queued", kind="query")))
    error = {"code": "x", "detail": "The encoder is missing."}
    server.on("GET", "/jobs/job-1", httpx.Response(200, json={**job_json("failed", canceled=1), "error": error}))
    with pytest.raises(ClientError, match="The encoder is missing"):
        ask_all(client, [query("a")], top_k=5, on_done=lambda _: None)


@pytest.mark.parametrize(
    ("job", "problem_text"),
    [
        (job_json(created=600), ""),
        (job_json(unchanged=600), ""),
        (job_json(created=100, updated=1, unchanged=499), ""),
        (job_json(created=599), "599 of 600"),
        (job_json("partially_succeeded", created=599, failed=1), "partially_succeeded with 599 of 600"),
        (job_json("succeeded", created=600, unchanged=600), "1200 of 600"),
        (job_json("canceled", created=10, canceled=590), "canceled with 10"),
    ],
)
def test_counters_must_add_up(job: dict[str, Any], problem_text: str) -> None:
    assert problem_text in lost_items(cast(Job, job), expected=600)
    assert bool(lost_items(cast(Job, job), expected=600)) == bool(problem_text)


def test_an_import_that_lost_something_is_an_error(
    client: ApiClient, server: ScriptedServer, quiet: Console, tmp_path: Path
) -> None:
    path = tmp_path / "catalog.zip"
    path.write_bytes(b"PK")
    server.on("GET", "/galleries/demo", problem(404, "Not found", "No such gallery."))
    server.on("POST", "/galleries", httpx.Response(201, json={"name": "demo"}))
    server.on("POST", "/galleries/demo/imports", httpx.Response(202, json=job_json("queued")))
    server.on("GET", "/jobs/job-1", httpx.Response(200, json=job_json(created=599)))
    with pytest.raises(ClientError, match="599 of 600"):
        import_catalog(client, path, console=quiet)
    assert server.bodies("POST", "/galleries") == [{"name": "demo"}]
