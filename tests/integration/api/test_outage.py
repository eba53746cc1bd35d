"""Postgres away in the middle of things: problems, never a stack trace, and back to work afterwards."""

from collections.abc import Callable
from typing import Any

import pytest

from cli.local.services import RunningServices

pytestmark = pytest.mark.integration


def test_postgres_stops_and_comes_back(call: Callable[..., Any], services: RunningServices) -> None:
    assert call("POST", "/galleries", json={"name": "summer"}).status_code == 201
    services.supervisor.halt("postgres")
    try:
        for method, path, options in (
            ("GET", "/galleries/summer", {}),
            ("POST", "/galleries", {"json": {"name": "x"}, "headers": {"Idempotency-Key": "k"}}),
            ("GET", "/readyz", {}),
        ):
            response = call(method, path, **options)
            assert (response.status_code, response.content_type) == (503, "application/problem+json"), response.text
            assert "Traceback" not in response.text
            assert "psycopg" not in response.text
        assert call("GET", "/healthz").status_code == 200
        assert 'setr_up{part="postgres"} 0.0' in call("GET", "/metrics").text
    finally:
        services.supervisor.resume("postgres")
    assert call("GET", "/galleries/summer").status_code == 200
