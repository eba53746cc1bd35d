"""Killed workers and a flushed broker lose nothing, and count nothing twice."""

from pathlib import Path
from typing import Any

import pytest
import redis

from tests.functional.conftest import Service

pytestmark = pytest.mark.functional
PICTURES = 160


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    from retrieval.datasets.catalog import write_demo_catalog

    path = Path(tmp_path_factory.mktemp("faults")) / "catalog.zip"
    write_demo_catalog(path, count=PICTURES, seed=9, size_px=128)
    return path.read_bytes()


def begun(service: Service, job_id: str) -> dict[str, Any] | None:
    """The job, once some but not all of it is done."""
    job = service.job(job_id)
    return job if 0 < job["progress"]["created"] < PICTURES else None


def complete(service: Service, gallery: str, job_id: str) -> None:
    job = service.ended(job_id)
    assert job["state"] == "succeeded", job
    assert job["progress"]["created"] == PICTURES
    assert service.image_count(gallery) == PICTURES
    found = service.query(gallery, text="a dress", top_k=200)
    assert len({row["external_id"] for row in found["result"]["results"]}) == PICTURES


def test_a_killed_embed_worker_loses_nothing(service: Service, catalog: bytes) -> None:
    gallery = service.gallery("kill-embed")
    job_id = service.import_files(gallery, ("catalog.zip", catalog))
    service.until(lambda: begun(service, job_id))
    service.stack.supervisor.kill("worker-embed")
    complete(service, gallery, job_id)


def test_a_killed_ingest_worker_loses_nothing(service: Service, catalog: bytes) -> None:
    gallery = service.gallery("kill-ingest")
    job_id = service.import_files(gallery, ("catalog.zip", catalog))
    service.until(lambda: service.job(job_id)["progress"]["total"])
    service.stack.supervisor.kill("worker-ingest")
    complete(service, gallery, job_id)


def test_a_flushed_broker_loses_nothing(service: Service, catalog: bytes, broker: "redis.Redis") -> None:
    gallery = service.gallery("flush")
    job_id = service.import_files(gallery, ("catalog.zip", catalog))
    service.until(lambda: begun(service, job_id))
    broker.flushall()
    complete(service, gallery, job_id)


def test_a_missing_judge_leaves_the_coarse_order_and_says_so(service: Service, catalog: bytes) -> None:
    gallery = service.gallery("no-judge")
    service.ended(service.import_files(gallery, ("catalog.zip", catalog)))
    image = service.http.get(f"/galleries/{gallery}/images", params={"page_size": 1}).json()["items"][0]
    service.stack.supervisor.halt("worker-rerank")
    try:
        query = {
            "reference": {"external_id": image["external_id"]},
            "text": "in blue",
            "rerank": {"depth": 10, "budget_seconds": 12},
        }
        job_id = service.http.post(f"/galleries/{gallery}/queries", json=query).json()["id"]
        provisional = service.until(lambda: job if (job := service.job(job_id))["stage"] == "reranking" else None)
        assert provisional["result"]["provisional"] is True
        assert provisional["result"]["results"]
        waiting = service.until(lambda: service.job(job_id)["waiting_for"])
        assert waiting["queue"] == "rerank"
        job = service.ended(job_id)
        assert job["state"] == "succeeded"
        assert job["result"]["reranked"] is False
        assert "budget" in job["result"]["reason"]
    finally:
        service.stack.supervisor.resume("worker-rerank")


def test_a_cancelled_import_stops_and_adds_up(service: Service, catalog: bytes) -> None:
    gallery = service.gallery("cancel")
    job_id = service.import_files(gallery, ("catalog.zip", catalog))
    service.until(lambda: begun(service, job_id))
    assert service.http.post(f"/jobs/{job_id}/cancel").status_code in {200, 202}
    job = service.ended(job_id)
    assert job["state"] == "canceled"
    assert job["progress"]["canceled"] > 0
    assert service.image_count(gallery) == job["progress"]["created"]


@pytest.fixture
def broker(service: Service) -> "redis.Redis":
    return redis.Redis.from_url(service.stack.settings.redis_url)


def test_a_worker_that_is_asked_to_stop_hands_its_unit_back(service: Service, catalog: bytes) -> None:
    gallery = service.gallery("orderly")
    job_id = service.import_files(gallery, ("catalog.zip", catalog))
    service.until(lambda: begun(service, job_id))
    service.stack.supervisor.halt("worker-embed")
    service.stack.supervisor.resume("worker-embed")
    complete(service, gallery, job_id)
