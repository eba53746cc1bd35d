"""Requests a minute by key, counted in this process; tests/integration/api counts them in Redis."""

from typing import Any

import pytest
from apiflask import APIFlask
from structlog.testing import capture_logs

from api.app import create_app
from api.rate_limits import PAUSE_S, RateLimits
from core import access
from core.ids import new_id
from core.models import Principal
from core.settings import Settings
from tests.unit.api.conftest import Caller
from tests.unit.api.fakes import World


@pytest.fixture
def settings() -> Settings:
    return Settings(rate_limit_url="memory://", requests_per_minute=2)


def key(app: APIFlask, world: World, settings: Settings, requests_per_minute: int | None = None) -> Caller:
    """A client with a key of its own."""
    issued = access.issue_key(
        world.context(settings).uow, tenant="shop", label="test", requests_per_minute=requests_per_minute
    )
    return Caller(app.test_client(), issued)


def statuses(call: Caller, times: int) -> list[int]:
    return [call("GET", "/galleries").status_code for _ in range(times)]


def test_one_request_too_many_is_refused_and_told_when_to_come_back(
    app: APIFlask, world: World, settings: Settings
) -> None:
    call = key(app, world, settings)
    first = call("GET", "/galleries")
    assert (first.status_code, first.headers["X-RateLimit-Limit"]) == (200, "2")
    assert first.headers["X-RateLimit-Remaining"] == "1"
    assert "Retry-After" not in first.headers
    assert statuses(call, 2) == [200, 429]
    refused = call("GET", "/galleries")
    assert refused.content_type == "application/problem+json"
    assert refused.json["type"] == "urn:setr:problem:rate_limited"
    assert "2 requests a minute" in refused.json["detail"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 61
    assert refused.headers["X-RateLimit-Remaining"] == "0"


def test_the_limit_spans_all_calls_of_a_key_and_no_other_key(app: APIFlask, world: World, settings: Settings) -> None:
    one, other = key(app, world, settings), key(app, world, settings)
    assert one("POST", "/galleries", json={"name": "summer"}).status_code == 201
    assert [one("GET", path).status_code for path in ("/galleries/summer", "/jobs")] == [200, 429]
    assert statuses(other, 3) == [200, 200, 429]


def test_a_refused_request_has_no_effect(app: APIFlask, world: World, settings: Settings) -> None:
    call = key(app, world, settings, 1)
    assert statuses(call, 1) == [200]
    assert call("POST", "/galleries", json={"name": "summer"}).status_code == 429
    assert world.store.galleries.rows == {}


@pytest.mark.parametrize(("own", "expected"), [(None, [200, 200, 429]), (1, [200, 429, 429]), (0, [200, 200, 200])])
def test_a_keys_own_limit_comes_before_the_operators(
    own: int | None, expected: list[int], app: APIFlask, world: World, settings: Settings
) -> None:
    assert statuses(key(app, world, settings, own), 3) == expected


def test_what_asks_for_no_key_is_not_counted(app: APIFlask) -> None:
    client = app.test_client()
    for path in ("/healthz", "/metrics", "/openapi.json", "/docs"):
        assert {client.get(path, buffered=True).status_code for _ in range(4)} == {200}, path
    assert {client.get("/jobs").status_code for _ in range(4)} == {401}


def test_polls_keep_their_own_retry_after(app: APIFlask, world: World, settings: Settings) -> None:
    call = key(app, world, settings, 9)
    call("POST", "/galleries", json={"name": "summer"})
    job: dict[str, Any] = call("POST", "/galleries/summer/queries", json={"text": "red"}).json
    limited = call("GET", f"/jobs/{job['id']}")
    without_limits = create_app(world.context(Settings()))
    unlimited = Caller(without_limits.test_client(), call.key)("GET", f"/jobs/{job['id']}")
    assert limited.headers["Retry-After"] == unlimited.headers["Retry-After"]
    assert limited.headers["X-RateLimit-Remaining"] == "6"
    assert "X-RateLimit-Remaining" not in unlimited.headers


def test_a_key_without_a_limit_never_asks_redis(world: World) -> None:
    settings = Settings(redis_url="redis://127.0.0.1:1/0")  # and unit tests may not open a socket
    with capture_logs() as logs:
        assert statuses(key(create_app(world.context(settings)), world, settings), 3) == [200, 200, 200]
    assert [line for line in logs if line["event"] == "rate_limits.not_counted"] == []


def test_where_nothing_can_count_requests_pass_and_that_is_logged_once_in_a_while() -> None:
    moments = iter([0.0, 0.0, 1.0, PAUSE_S + 1, PAUSE_S + 1])
    settings = Settings(redis_url="amqp://broker.test", requests_per_minute=1)
    rates = RateLimits(settings, now=lambda: next(moments))
    somebody = Principal(tenant_id=new_id(), key_id=new_id(), scopes=frozenset())
    with capture_logs() as logs:
        for _ in range(3):
            rates.count(somebody)
    assert [line["event"] for line in logs] == ["rate_limits.not_counted"] * 2


@pytest.mark.parametrize("url", ["amqp://host", "host:6379", "memcached://host"])
def test_requests_are_counted_in_redis_or_in_memory(url: str) -> None:
    with pytest.raises(ValueError, match="rate_limit_url"):
        Settings(rate_limit_url=url)
