"""Metrics for Prometheus."""

from typing import Any

from apiflask import APIBlueprint
from flask import Response, request

from api.runtime import runtime

bp = APIBlueprint("metrics", __name__, tag="Operations")

_EXAMPLE = 'setr_queue_due_units{queue="embed"} 12.0\n'
_RESPONSES: dict[int | str, dict[str, str | dict[str, dict[str, Any]]]] = {
    200: {
        "description": "The text format of Prometheus, or OpenMetrics",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}},
    }
}


@bp.get("/metrics")
@bp.doc(responses=_RESPONSES)
def get_metrics() -> Response:
    """Read the metrics of this process and of the queues."""
    body, media_type = runtime().metrics.exposition(request.headers.get("Accept", ""))
    return Response(body, content_type=media_type)
