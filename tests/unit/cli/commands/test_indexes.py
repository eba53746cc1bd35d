import json
from collections.abc import Callable

import httpx
import pytest
from click.testing import Result

from tests.unit.cli.scripted import ScriptedServer, job_json, problem

INDEXES = "/galleries/shop/indexes"
OLD = {
    "id": "index-1",
    "encoder": "demo",
    "state": "active",
    "pending": 0,
    "built": 1.0,
    "created_at": "2026-01-01T00:00:00Z",
}
NEW = {**OLD, "id": "index-2", "encoder": "clip", "state": "ready", "pending": 1234, "built": 0.42}

Setr = Callable[..., Result]


@pytest.fixture
def shop(server: ScriptedServer) -> ScriptedServer:
    server.on("POST", INDEXES, httpx.Response(202, json=job_json("queued", kind="reindex")))
    server.on("GET", INDEXES, httpx.Response(200, json={"items": [OLD, NEW]}))
    return server


def ends(server: ScriptedServer, state: str, **fields: object) -> None:
    job = {**job_json(state, kind="reindex", created=3), **fields}
    server.on("GET", "/jobs/job-1", httpx.Response(200, json=job))


def test_a_reindex_is_waited_for(setr: Setr, shop: ScriptedServer) -> None:
    ends(shop, "succeeded", result={"index_id": "index-2"})
    result = setr("reindex", "shop", "--encoder", "clip")
    assert result.exit_code == 0, result.output
    assert shop.bodies("POST", INDEXES) == [{"encoder": "clip", "activate": "when_ready"}]
    assert "succeeded" in result.stdout
    assert "setr activate" not in result.stdout


def test_a_manual_one_says_how_to_go_on(setr: Setr, shop: ScriptedServer) -> None:
    ends(shop, "succeeded", result={"index_id": "index-2"})
    result = setr("reindex", "shop", "--activate", "manual")
    assert shop.bodies("POST", INDEXES) == [{"encoder": None, "activate": "manual"}]
    assert "setr activate shop index-2" in result.stdout


def test_a_refusal_is_told(setr: Setr, shop: ScriptedServer) -> None:
    error = {"code": "index_check_failed", "detail": "The index finds 0.5 of what an exact search finds."}
    ends(shop, "failed", error=error)
    result = setr("reindex", "shop")
    assert result.exit_code == 1
    assert error["detail"] in result.stdout


def test_without_waiting_the_job_is_printed(setr: Setr, shop: ScriptedServer) -> None:
    del shop
    assert setr("reindex", "shop", "--no-wait").stdout.strip() == "job-1"


def test_indexes_are_listed(setr: Setr, shop: ScriptedServer) -> None:
    del shop
    shown = setr("indexes", "shop").stdout
    assert all(word in shown for word in ("index-1", "active", "index-2", "clip", "ready", "1,234"))
    assert json.loads(setr("indexes", "shop", "--json").stdout) == [OLD, NEW]


def test_the_switch_and_its_refusal(setr: Setr, shop: ScriptedServer) -> None:
    shop.on("POST", f"{INDEXES}/index-2/activate", httpx.Response(200, json={**NEW, "state": "active"}))
    assert "index-2 with encoder clip answers now" in setr("activate", "shop", "index-2").stdout
    refusal = problem(409, "Conflict", "Index index-2 still lacks the vectors of 3 images.")
    shop.on("POST", f"{INDEXES}/index-2/activate", refusal)
    result = setr("activate", "shop", "index-2")
    assert result.exit_code == 1
    assert "vectors of 3 images" in result.output
