"""Requests a minute, counted in a real Redis by two API processes' applications."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from structlog.testing import capture_logs

from api.app import create_app
from cli.local.services import RunningServices
from core import access
from core.context import Context

pytestmark = pytest.mark.integration

Ask = Callable[[FlaskClient], int]


@pytest.fixture
def ask(ctx: Context) -> Ask:
    """Requests with a key that may send three a minute; the status that each brought."""
    key = access.issue_key(ctx.uow, tenant="shop", label="test", requests_per_minute=3)
    return lambda client: client.get("/galleries", headers={"Authorization": f"Bearer {key}"}).status_code


def test_all_processes_count_together(ctx: Context, ask: Ask) -> None:
    one, other = (create_app(ctx).test_client() for _ in range(2))
    assert [ask(client) for client in (one, other, one, other, one)] == [200, 200, 200, 429, 429]


def test_while_redis_is_away_requests_pass_and_one_line_says_so(
    ctx: Context, ask: Ask, services: RunningServices
) -> None:
    client = create_app(ctx).test_client()
    assert ask(client) == 200
    services.supervisor.halt("redis")
    try:
        with capture_logs() as logs:
            assert [ask(client) for _ in range(5)] == [200] * 5
    finally:
        services.supervisor.resume("redis")
    (line,) = [line for line in logs if line["event"] == "rate_limits.not_counted"]
    assert line["reason"] == "ConnectionError"
    later = create_app(ctx).test_client()
    assert 429 in [ask(later) for _ in range(4)]


def test_a_limit_that_changes_holds_from_the_next_look_at_the_key(ctx: Context, ask: Ask) -> None:
    assert access.set_rate(ctx.uow, tenant="shop", label="test", requests_per_minute=1) == 1
    client = create_app(ctx).test_client()
    assert [ask(client) for _ in range(2)] == [200, 429]
    access.set_rate(ctx.uow, tenant="shop", label="test", requests_per_minute=0)
    fresh = create_app(ctx).test_client()
    assert [ask(fresh) for _ in range(5)] == [200] * 5
