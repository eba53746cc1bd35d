"""/healthz and /readyz."""

import pytest
from apiflask import APIFlask

from api.endpoints.health import NEEDED_QUEUES
from core.models import Queue
from tests.unit.api.conftest import get_json
from tests.unit.api.fakes import World
from tests.unit.api.test_errors import assert_problem


@pytest.fixture(autouse=True)
def _workers(world: World) -> None:
    world.store.workers.counts = dict.fromkeys(NEEDED_QUEUES, 1)


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
