"""A file of queries in, a file of answers out, and results that stand for groups."""

import json
from typing import Any

import httpx
import pytest

from tests.functional.conftest import Service
from tests.integration.core.importing import jsonl

pytestmark = pytest.mark.functional
PICTURES = 40


@pytest.fixture(scope="module")
def gallery(service: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    from retrieval.datasets.catalog import write_demo_catalog

    path = tmp_path_factory.mktemp("batch") / "catalog.zip"
    write_demo_catalog(path, count=PICTURES, seed=7, size_px=96)
    name = service.gallery("batches")
    assert service.ended(service.import_files(name, ("catalog.zip", path.read_bytes())))["state"] == "succeeded"
    return name


def ids(found: dict[str, Any]) -> list[str]:
    return [row["external_id"] for row in found["results"]]


def test_a_file_is_answered_as_single_queries_are(service: Service, gallery: str) -> None:
    images = service.http.get(f"/galleries/{gallery}/images", params={"page_size": 8}).json()["items"]
    asked: list[dict[str, Any]] = [
        {"id": image["external_id"], "reference": {"external_id": image["external_id"]}, "text": "in red", "top_k": 5}
        for image in images
    ]
    asked[0]["rerank"] = {"depth": 5}
    bad = {"id": "bad", "text": "x", "strategy": "magic"}
    files = {"file": ("queries.jsonl", jsonl(*asked, bad))}
    answer = service.http.post(f"/galleries/{gallery}/query-batches", files=files)
    assert answer.status_code == 202, answer.text
    job = service.ended(answer.json()["id"])
    assert job["state"] == "partially_succeeded"
    assert (job["progress"]["created"], job["progress"]["failed"]) == (len(asked), 1)
    lines = [json.loads(line) for line in httpx.get(job["result"]["url"]).text.splitlines()]
    assert [line["id"] for line in lines] == [*(query["id"] for query in asked), "bad"]
    assert [line["line"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1]["error"]["code"] == "invalid_input"
    assert (lines[0]["reranked"], lines[1]["reranked"]) == (True, False)
    del asked[1]["id"]
    single = service.query(gallery, **{**asked[1], "rerank": False})
    assert ids(lines[1]) == ids(single["result"])
    items = service.http.get(f"/jobs/{job['id']}/items").json()["items"]
    assert [(item["external_id"], item["source"]) for item in items] == [("bad", f"line {len(lines)}")]


def test_one_result_for_each_colour(service: Service, gallery: str) -> None:
    rows = service.query(gallery, text="a dress", top_k=50, group_by="color")["result"]["results"]
    colours = [row["group"] for row in rows]
    assert len(colours) == len(set(colours)) > 1
    assert sum(row["group_images"] for row in rows) == PICTURES
    assert all(row["attributes"]["color"] == row["group"] for row in rows)


def test_the_same_picture_again_is_collapsed(service: Service, gallery: str) -> None:
    image = service.http.get(f"/galleries/{gallery}/images", params={"page_size": 1}).json()["items"][0]
    data = service.http.get(f"/galleries/{gallery}/images/{image['id']}/content").content
    assert service.ended(service.import_files(gallery, ("again.jpg", data)))["state"] == "succeeded"
    reference = {"external_id": "again.jpg"}
    plain = service.query(gallery, reference=reference, include_reference=True, top_k=2)["result"]
    assert set(ids(plain)) == {"again.jpg", image["external_id"]}
    query = {"reference": reference, "include_reference": True, "collapse_duplicates": True, "top_k": 2}
    first, second = service.query(gallery, **query)["result"]["results"]
    assert first["external_id"] in ids(plain)
    assert second["external_id"] not in ids(plain)
    assert first["duplicates"] >= 1
