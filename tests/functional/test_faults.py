"""Faults of every kind lose nothing, and count nothing twice: the short version of `make test-faults`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import pictures
from benchmarks.faults.plan import Kind, Strike
from benchmarks.faults.run import Lab, laboratory, run
from tests.functional.conftest import PATIENCE_S, Service

pytestmark = pytest.mark.functional
PICTURES = 160
HURT = 300


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


@pytest.fixture(scope="module")
def lab(service: Service) -> Iterator[Lab]:
    """What `make test-faults` runs in, with fewer pictures; undisturbed, its import is clean."""
    archive = pictures.catalog(HURT)
    with laboratory(service.stack, archive, pictures.catalog_truth(archive), patience_s=PATIENCE_S) as lab:
        undisturbed = run(lab, "undisturbed", ())
        assert (undisturbed.state, undisturbed.count.deviations()) == ("succeeded", {})
        yield lab


@pytest.mark.parametrize(
    "strikes",
    [
        (Strike(Kind.KILL_INGEST, ("worker-ingest",), 0.2), Strike(Kind.KILL_EMBED, ("worker-embed",), 0.4)),
        (Strike(Kind.FLUSH_REDIS, ("redis",), 0.1), Strike(Kind.EMPTY_REDIS, ("redis",), 0.4)),
        (Strike(Kind.RESTART_API, ("api",), mid_upload=True), Strike(Kind.RESTART_POSTGRES, ("postgres",), 0.4)),
        (Strike(Kind.PAUSE_S3, ("s3",), 0.2, pause_s=3.0), Strike(Kind.KILL_BEAT, ("beat",), 0.4)),
        (
            Strike(Kind.KILL_KEEPER, ("worker-reconcile",), 0.2),
            Strike(Kind.STOP_WORKERS, ("worker-ingest", "worker-embed"), 0.4),  # last: they finish what they are at
        ),
        (Strike(Kind.KILL_QUERY, ("worker-rerank",), 0.1), Strike(Kind.RESTART_API, ("api",), 0.4)),
    ],
    ids=lambda strikes: "+".join(strike.kind for strike in strikes),
)
def test_nothing_is_lost_double_or_stuck(lab: Lab, strikes: tuple[Strike, ...]) -> None:
    outcome = run(lab, "-".join(strike.kind.replace("_", "-") for strike in strikes), strikes)
    assert (outcome.state, outcome.count.deviations()) == ("succeeded", {})


def test_the_same_import_twice_at_once_makes_every_image_once(service: Service, catalog: bytes) -> None:
    gallery = service.gallery("twice")
    jobs = [service.import_files(gallery, ("catalog.zip", catalog)) for _ in range(2)]
    service.until(lambda: any(begun(service, job_id) for job_id in jobs))
    service.stack.supervisor.kill("worker-embed")
    progress = [service.ended(job_id)["progress"] for job_id in jobs]
    assert [one["failed"] + one["canceled"] for one in progress] == [0, 0]
    assert sum(one["created"] for one in progress) == PICTURES
    assert service.image_count(gallery) == PICTURES


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
