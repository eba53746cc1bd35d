"""A scripted server behind the HTTP client, and JSON as the API writes it."""

import json
from collections.abc import Iterable
from typing import Any

import httpx

URL = "http://127.0.0.1:8080"
KEY = "test-key"
ZERO = {"created": 0, "updated": 0, "unchanged": 0, "deleted": 0, "failed": 0, "canceled": 0, "pending": 0}

Reply = httpx.Response | BaseException


class Pauses(list[float]):
    """A clock that remembers how long it was told to sleep, and does not."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


class ScriptedServer(httpx.BaseTransport):
    """Answers each (method, path) with its script, in order; the last answer repeats. Keeps the requests."""

    def __init__(self) -> None:
        self.scripts: dict[tuple[str, str], list[Reply]] = {}
        self.requests: list[httpx.Request] = []

    def on(self, method: str, path: str, *replies: Reply) -> None:
        self.scripts[method, path] = list(replies)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        script = self.scripts.get((request.method, request.url.path))
        if script is None:
            return problem(404, "Not found", f"There is nothing at {request.url.path}.")
        reply = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(reply, BaseException):
            raise reply
        return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)

    def bodies(self, method: str, path: str) -> list[Any]:
        """JSON bodies of the requests to a path."""
        return [json.loads(one.content) for one in self.requests if (one.method, one.url.path) == (method, path)]


def ok(**body: object) -> httpx.Response:
    return httpx.Response(200, json=body)


def problem(status: int, title: str, detail: str, **extensions: Any) -> httpx.Response:
    return httpx.Response(
        status,
        json={"type": "urn:setr:problem:test", "title": title, "status": status, "detail": detail, **extensions},
        headers={"Content-Type": "application/problem+json"},
    )


def job_json(
    state: str = "succeeded", *, kind: str = "import", stage: str = "finishing", **counts: int
) -> dict[str, Any]:
    """A job as the API shows it; the total is the sum of the counts."""
    return {
        "id": "job-1", "kind": kind, "state": state, "stage": stage, "gallery": "shop",
        "created_at": "2026-01-01T00:00:00Z", "started_at": None, "finished_at": None,
        "expires_at": "2026-02-01T00:00:00Z",
        "progress": {**ZERO, "total": sum(counts.values()), **counts},
        "waiting_for": None, "eta_seconds": None, "result": None, "error": None, "warnings": [],
    }  # fmt: skip


def result_json(rank: int, external_id: str, *, coarse: int | None = None, p_yes: float | None = 0.5) -> dict[str, Any]:
    return {
        "rank": rank, "external_id": external_id, "score": 1 / rank, "coarse": {"rank": coarse or rank, "score": 0.3},
        "rerank": None if p_yes is None else {"p_yes": p_yes}, "image_url": None, "thumbnail_url": None,
        "attributes": {"category": "dress", "color": "red"},
    }  # fmt: skip


def answer_json(results: Iterable[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    return {
        "reranked": True, "strategy": "intersection", "reason": None, "timings_ms": {}, "explanation": None,
        "results": list(results), **fields,
    }  # fmt: skip
