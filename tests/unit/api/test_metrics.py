"""/metrics, read by Prometheus's own parser."""

from collections.abc import Mapping
from typing import Any, cast

import pytest
from apiflask import APIFlask
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from api.app import create_app
from api.metrics import Metrics
from core.models import Backlog, Gallery, JobKind, JobState, Queue
from core.settings import Settings
from tests.unit.api.conftest import Caller, get_json
from tests.unit.api.fakes import NOW, World
from tests.unit.api.test_errors import assert_problem

DURATION = "setr_http_request_duration_seconds"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(app: APIFlask) -> Samples:
    response = app.test_client().get("/metrics")
    assert response.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(response.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def routes(samples: Samples) -> set[tuple[str, str, str]]:
    counted = [dict(labels) for name, labels in samples if name == f"{DURATION}_count"]
    return {(labels["method"], labels["route"], labels["status"]) for labels in counted}


def test_queues(app: APIFlask, world: World) -> None:
    world.store.workers.counts = {Queue.EMBED: 2}
    world.store.monitoring.queues = {
        Queue.EMBED: Backlog(due=12, deferred=3, running=4, due_since=NOW, oldest_due_s=130.5)
    }
    samples = scraped(app)
    embed = {"queue": "embed"}
    assert value(samples, "setr_up", part="postgres") == 1
    assert value(samples, "setr_queue_due_units", **embed) == 12
    assert value(samples, "setr_queue_deferred_units", **embed) == 3
    assert value(samples, "setr_queue_running_units", **embed) == 4
    assert value(samples, "setr_queue_oldest_due_seconds", **embed) == 130.5
    assert value(samples, "setr_queue_consumers", **embed) == 2
    for name in ("due_units", "deferred_units", "running_units", "oldest_due_seconds", "consumers"):
        for queue in Queue:
            assert (f"setr_queue_{name}", frozenset({("queue", queue.value)})) in samples
    assert value(samples, "setr_queue_due_units", queue="ingest") == 0


def test_jobs_and_webhooks(app: APIFlask, world: World) -> None:
    world.store.monitoring.jobs = {(JobKind.IMPORT, JobState.RUNNING): 5}
    world.store.monitoring.deliveries = 7
    samples = scraped(app)
    assert value(samples, "setr_jobs_open", kind="import", state="running") == 5
    assert value(samples, "setr_jobs_open", kind="query", state="queued") == 0
    states = {dict(labels)["state"] for name, labels in samples if name == "setr_jobs_open"}
    assert states == {"queued", "running", "cancelling"}
    assert value(samples, "setr_webhook_deliveries_pending") == 7


def test_without_postgres_it_tells_what_the_process_knows(app: APIFlask, world: World) -> None:
    get_json(app, "/healthz")
    world.store.available = False
    samples = scraped(app)
    assert value(samples, "setr_up", part="postgres") == 0
    assert value(samples, f"{DURATION}_count", method="GET", route="/healthz", status="200") == 1
    assert not any(name.startswith(("setr_queue_", "setr_jobs_", "setr_webhook_")) for name, _ in samples)


def test_the_process_is_among_them(app: APIFlask) -> None:
    assert value(scraped(app), "process_resident_memory_bytes") > 0


def test_requests_are_counted_by_rule(app: APIFlask, call: Caller, gallery: Gallery) -> None:
    call("GET", f"/galleries/{gallery.name}")
    call("GET", "/galleries/of-somebody")
    app.test_client().get("/galleries")
    assert routes(scraped(app)) == {
        ("POST", "/galleries", "201"),
        ("GET", "/galleries/<gallery>", "200"),
        ("GET", "/galleries/<gallery>", "404"),
        ("GET", "/galleries", "401"),
    }


def test_clients_cannot_make_up_series(app: APIFlask) -> None:
    client = app.test_client()
    for number in range(3):
        client.get(f"/no-such-path-{number}")
        client.open("/healthz", method=f"MADEUP{number}")
    assert routes(scraped(app)) == {("GET", "unmatched", "404"), ("other", "unmatched", "405")}


def test_nothing_of_tenants(app: APIFlask, call: Caller, gallery: Gallery) -> None:
    job = call("POST", f"/galleries/{gallery.name}/queries", json={"text": "crimson"}).json
    call("GET", f"/jobs/{job['id']}")
    text = app.test_client().get("/metrics").text
    for secret in (gallery.name, str(gallery.id), job["id"], str(gallery.tenant_id), "crimson", "shop", call.key):
        assert secret not in text


def test_what_a_long_poll_waits_is_counted_apart(app: APIFlask, call: Caller, gallery: Gallery) -> None:
    job = call("POST", f"/galleries/{gallery.name}/queries", json={"text": "red"}).json
    assert call("GET", f"/jobs/{job['id']}?wait=1").status_code == 200
    samples = scraped(app)
    assert value(samples, "setr_long_poll_wait_seconds_count") == 1
    waited_s = value(samples, "setr_long_poll_wait_seconds_sum")
    polling = {"method": "GET", "route": "/jobs/<uuid:job_id>", "status": "200"}
    assert value(samples, f"{DURATION}_count", **polling) == 1
    assert value(samples, f"{DURATION}_sum", **polling) < waited_s


def test_a_poll_that_does_not_wait_is_no_long_poll(app: APIFlask, call: Caller, gallery: Gallery) -> None:
    job = call("POST", f"/galleries/{gallery.name}/queries", json={"text": "red"}).json
    call("GET", f"/jobs/{job['id']}")
    assert value(scraped(app), "setr_long_poll_wait_seconds_count") == 0


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/html",
        "application/openmetrics-text; version=x",
        "application/openmetrics-text; version=2.x",
        "text/plain;version=,",
    ],
)
def test_text_unless_openmetrics_is_asked_for(app: APIFlask, accept: str) -> None:
    response = app.test_client().get("/metrics", headers={"Accept": accept})
    assert response.content_type.startswith("text/plain; version=0.0.4")
    assert list(parse(response.text))


def test_openmetrics(app: APIFlask) -> None:
    response = app.test_client().get("/metrics", headers={"Accept": OPENMETRICS})
    assert response.content_type.startswith(OPENMETRICS)
    assert "setr_queue_due_units" in {family.name for family in parse_openmetrics(response.text)}  # type: ignore[no-untyped-call]


def test_two_applications_share_nothing(app: APIFlask, world: World, settings: Settings) -> None:
    get_json(app, "/healthz")
    other = create_app(world.context(settings))
    assert routes(scraped(other)) == set()


def test_nothing_is_read_before_a_scrape(world: World, settings: Settings) -> None:
    world.store.monitoring = cast("Any", None)
    Metrics(world.context(settings))


def test_off(world: World) -> None:
    app = create_app(world.context(Settings(metrics=False)))
    assert_problem(app.test_client().get("/metrics"), 404, "not_found")
    assert "/metrics" not in get_json(app, "/openapi.json")["paths"]
