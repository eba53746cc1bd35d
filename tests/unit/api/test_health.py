"""/healthz and /readyz."""

from dataclasses import replace
from datetime import timedelta

import pytest
from apiflask import APIFlask

from api.app import create_app
from api.endpoints.health import NEEDED_QUEUES
from core import stalls
from core.models import Backlog, Queue
from core.settings import Settings
from tests.unit.api.conftest import get_json
from tests.unit.api.fakes import NOW, World
from tests.unit.api.test_errors import assert_problem


@pytest.fixture(autouse=True)
def _workers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.store.workers.counts = dict.fromkeys(NEEDED_QUEUES, 2)
    monkeypatch.setattr(stalls, "SECOND_LOOK_S", 0.0)


STALLED = Backlog(due=3, due_since=NOW, oldest_due_s=130.4)


def failing(app: APIFlask) -> set[str]:
    body = assert_problem(app.test_client().get("/readyz"), 503, "not_ready")
    return {check["name"] for check in body["checks"] if not check["ok"]}


def test_alive_whatever_else_is_away(app: APIFlask, world: World) -> None:
    world.store.available = False
    assert get_json(app, "/healthz") == {"status": "ok"}


def test_ready(app: APIFlask) -> None:
    body = get_json(app, "/readyz")
    assert body["status"] == "ready"
    assert all(check["ok"] for check in body["checks"])
    assert len(body["checks"]) == 3 + len(NEEDED_QUEUES)


def test_a_queue_that_nobody_serves(app: APIFlask, world: World) -> None:
    del world.store.workers.counts[Queue.RERANK]
    assert failing(app) == {"queue:rerank"}


def test_services_that_are_away(app: APIFlask, world: World) -> None:
    world.objects.available = False
    world.doorbell.available = False
    assert failing(app) == {"bucket", "broker"}


def test_postgres_away(app: APIFlask, world: World) -> None:
    world.store.available = False
    assert failing(app) == {"postgres", *(f"queue:{queue}" for queue in NEEDED_QUEUES)}


def test_workers_that_live_but_take_nothing(app: APIFlask, world: World) -> None:
    world.store.monitoring.queues = {Queue.EMBED: STALLED}
    body = assert_problem(app.test_client().get("/readyz"), 503, "not_ready")
    assert [check["detail"] for check in body["checks"] if not check["ok"]] == [
        "2 live workers take from it, but its oldest unit has waited for 130 s, and none is running"
    ]


@pytest.mark.parametrize(
    "backlog",
    [
        replace(STALLED, running=1),
        replace(STALLED, oldest_due_s=119.0),
        Backlog(deferred=9),
    ],
    ids=["one is running", "it has not waited for long", "nothing is due"],
)
def test_a_queue_that_is_merely_long(app: APIFlask, world: World, backlog: Backlog) -> None:
    world.store.monitoring.queues = {Queue.EMBED: backlog}
    assert get_json(app, "/readyz")["status"] == "ready"


@pytest.mark.parametrize(
    "later",
    [
        replace(STALLED, due=2),
        replace(STALLED, due_since=NOW + timedelta(seconds=5)),
        replace(STALLED, running=1),
        Backlog(),
    ],
    ids=["one was taken", "the oldest was taken", "one is running", "all were taken"],
)
def test_a_moment_between_two_units_is_no_stall(app: APIFlask, world: World, later: Backlog) -> None:
    world.store.monitoring.queues = {Queue.EMBED: STALLED}
    world.store.monitoring.looks = [{Queue.EMBED: later}]
    assert get_json(app, "/readyz")["status"] == "ready"


def test_a_stalled_queue_that_not_everybody_needs(app: APIFlask, world: World) -> None:
    world.store.monitoring.queues = {Queue.EMBED_GPU: STALLED}
    assert get_json(app, "/readyz")["status"] == "ready"


def test_how_long_is_too_long(world: World) -> None:
    world.store.monitoring.queues = {Queue.EMBED: STALLED}
    app = create_app(world.context(Settings(stalled_after_s=200)))
    assert get_json(app, "/readyz")["status"] == "ready"
