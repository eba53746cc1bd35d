"""The main road: a catalog in, composed queries out."""

from pathlib import Path
from typing import Any

import pytest

from tests.functional.conftest import Service

pytestmark = pytest.mark.functional
PICTURES = 60


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    from retrieval.datasets.catalog import write_demo_catalog

    path = Path(tmp_path_factory.mktemp("catalog")) / "catalog.zip"
    write_demo_catalog(path, count=PICTURES, seed=5, size_px=160)
    return path.read_bytes()


@pytest.fixture(scope="module")
def gallery(service: Service, catalog: bytes) -> str:
    name = service.gallery("main-road")
    job = service.ended(service.import_files(name, ("catalog.zip", catalog)))
    assert job["state"] == "succeeded"
    assert job["progress"]["created"] == PICTURES
    return name


def test_a_second_import_changes_nothing(service: Service, gallery: str, catalog: bytes) -> None:
    job = service.ended(service.import_files(gallery, ("catalog.zip", catalog)))
    assert job["progress"]["unchanged"] == PICTURES
    assert service.image_count(gallery) == PICTURES


def test_an_image_query_finds_its_own_picture_first(service: Service, gallery: str) -> None:
    image = service.http.get(f"/galleries/{gallery}/images", params={"page_size": 1}).json()["items"][0]
    reference = {"external_id": image["external_id"]}
    job = service.query(gallery, reference=reference, include_reference=True, top_k=3)
    first = job["result"]["results"][0]
    assert first["external_id"] == image["external_id"]
    left_out = service.query(gallery, reference=reference, top_k=3)
    assert image["external_id"] not in [row["external_id"] for row in left_out["result"]["results"]]


def test_a_composed_query_is_reranked_and_explained(service: Service, gallery: str) -> None:
    image = service.http.get(f"/galleries/{gallery}/images", params={"page_size": 1}).json()["items"][0]
    job = service.query(gallery, reference={"external_id": image["external_id"]}, text="in red", top_k=5, explain=True)
    result = job["result"]
    assert result["reason"] is None
    assert result["reranked"] is True
    assert result["provisional"] is False
    assert [row["rank"] for row in result["results"]] == [1, 2, 3, 4, 5]
    assert all(0.0 <= row["rerank"]["p_yes"] <= 1.0 for row in result["results"])
    assert result["explanation"]["kept"]
    assert set(result["timings_ms"]) == {"encode", "search", "rerank"}


def test_a_negative_text_keeps_away_what_it_names(service: Service, gallery: str) -> None:
    listed = service.http.get(f"/galleries/{gallery}/images", params={"page_size": PICTURES}).json()["items"]
    image = next(each for each in listed if each["attributes"]["color"] == "red")
    asked = {"reference": {"external_id": image["external_id"]}, "text": "the same in large", "rerank": False}

    def first_red(**negative: str) -> tuple[int, Any]:
        found = service.query(gallery, **asked, **negative, top_k=PICTURES, explain=True)["result"]
        ranks = [row["rank"] for row in found["results"] if row["attributes"]["color"] == "red"]
        return min(ranks), found["explanation"]

    (plain, before), (denied, after) = first_red(), first_red(negative_text="red")
    assert denied > plain
    assert "red" in dict(before["kept"])
    assert "red" in dict(after["dropped"])


def test_results_carry_urls_that_work_without_a_key(service: Service, gallery: str) -> None:
    import httpx

    row = service.query(gallery, text="a red dress", top_k=1)["result"]["results"][0]
    answer = httpx.get(row["image_url"])
    assert answer.status_code == 200
    assert answer.content[:3] == b"\xff\xd8\xff"
    assert httpx.get(row["thumbnail_url"]).status_code == 200


def test_filters_keep_only_what_matches(service: Service, gallery: str) -> None:
    job = service.query(gallery, text="a dress", filter={"in_stock": True, "price": {"lte": 80}}, top_k=50)
    rows = job["result"]["results"]
    assert rows
    assert all(row["attributes"]["in_stock"] is True and row["attributes"]["price"] <= 80 for row in rows)


def test_results_below_the_minimum_score_are_cut(service: Service, gallery: str) -> None:
    scores = [row["score"] for row in service.query(gallery, text="a red dress", top_k=10)["result"]["results"]]
    cut = service.query(gallery, text="a red dress", top_k=10, min_score=scores[2])
    assert [row["score"] for row in cut["result"]["results"]] == scores[:3]


def test_an_uploaded_reference_works(service: Service, gallery: str) -> None:
    image = service.http.get(f"/galleries/{gallery}/images", params={"page_size": 1}).json()["items"][0]
    data = service.http.get(f"/galleries/{gallery}/images/{image['id']}/content").content
    answer = service.http.post(
        f"/galleries/{gallery}/queries",
        files={"reference_image": ("photo.jpg", data, "image/jpeg")},
        data={"query": '{"include_reference": true, "top_k": 1}'},
    )
    assert answer.status_code == 202, answer.text
    job = service.ended(answer.json()["id"])
    assert job["result"]["results"][0]["external_id"] == image["external_id"]


def test_attributes_change_without_embedding_again(service: Service, gallery: str) -> None:
    image = service.http.get(f"/galleries/{gallery}/images", params={"page_size": 1}).json()["items"][0]
    url = f"/galleries/{gallery}/images/{image['id']}"
    changed = service.http.patch(url, json={"attributes": {"season": "summer"}})
    assert changed.status_code == 200
    job = service.query(gallery, text="anything", filter={"season": "summer"})
    assert [row["external_id"] for row in job["result"]["results"]] == [image["external_id"]]


def test_a_deleted_image_is_never_found_again(service: Service, gallery: str, catalog: bytes) -> None:
    image = service.http.get(f"/galleries/{gallery}/images", params={"page_size": 1}).json()["items"][0]
    url = f"/galleries/{gallery}/images/{image['id']}"
    assert service.http.delete(url).status_code == 204
    assert service.http.get(url).status_code == 404
    job = service.query(gallery, text="a dress", top_k=PICTURES)
    assert image["external_id"] not in [row["external_id"] for row in job["result"]["results"]]
    restored = service.ended(service.import_files(gallery, ("catalog.zip", catalog)))
    assert restored["progress"]["created"] == 1


def test_an_empty_gallery_answers_with_no_results(service: Service) -> None:
    name = service.gallery("empty")
    job = service.query(name, text="a dress")
    assert job["state"] == "succeeded"
    assert job["result"]["results"] == []


def test_a_deleted_gallery_is_gone_at_once(service: Service, catalog: bytes) -> None:
    name = service.gallery("short-lived")
    service.ended(service.import_files(name, ("catalog.zip", catalog)))
    answer = service.http.delete(f"/galleries/{name}")
    assert answer.status_code == 202
    assert service.http.get(f"/galleries/{name}").status_code == 404
    job = service.ended(answer.json()["id"])
    assert job["progress"]["deleted"] == PICTURES
    service.gallery(name)
    assert service.image_count(name) == 0
