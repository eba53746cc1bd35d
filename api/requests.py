"""What surrounds every request: an id, bounds on its body, one log line, safe default headers."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from flask import Flask, Response, g, request

from api.bodies import JSON, bound_body, expect_media_type
from api.runtime import runtime
from core.ids import new_id

log = structlog.get_logger()

REQUEST_ID = "X-Request-Id"
OWN_BODY_RULES = frozenset({"imports.create_import", "queries.create_query", "batches.create_query_batch"})
_KNOWN_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_POLLED = frozenset({"jobs.get_job", "health.healthz", "health.readyz", "metrics.get_metrics"})


def register(app: Flask) -> None:
    """Surround the requests of the application."""
    app.before_request(_begin)
    app.after_request(_end)


@contextmanager
def waiting() -> Iterator[None]:
    """Around a wait that the client asked for: no part of what its request took, and counted apart."""
    began_s = time.perf_counter()
    try:
        yield
    finally:
        g.waited_s = time.perf_counter() - began_s
        runtime().metrics.waited(g.waited_s)


def _begin() -> None:
    structlog.contextvars.clear_contextvars()
    sent = request.headers.get(REQUEST_ID, "")
    g.request_id = sent if _KNOWN_ID.fullmatch(sent) else str(new_id())
    g.began_s = time.perf_counter()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    if request.url_rule is None or request.endpoint in OWN_BODY_RULES:
        return
    bound_body()
    if request.content_length or "Transfer-Encoding" in request.headers:
        expect_media_type(JSON)


def _end(response: Response) -> Response:
    response.headers[REQUEST_ID] = g.get("request_id", "")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    took_s = time.perf_counter() - g.get("began_s", time.perf_counter())
    route = request.url_rule.rule if request.url_rule else None
    runtime().metrics.answered(request.method, route, response.status_code, seconds=took_s - g.get("waited_s", 0.0))
    write = log.debug if request.endpoint in _POLLED else log.info
    write(
        "request",
        method=request.method,
        route=route,
        status=response.status_code,
        duration_ms=round(1000 * took_s, 1),
    )
    return response
