"""/docs and /openapi.json."""

import re

import pytest
from apiflask import APIFlask

from core.queries import STRATEGIES
from core.queryforms import Strategy
from tests.unit.api.conftest import get_json


def test_the_page_and_all_it_loads_come_from_here(app: APIFlask) -> None:
    client = app.test_client()
    page = client.get("/docs", buffered=True)
    assert page.status_code == 200
    assert page.content_type.startswith("text/html")
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) >= 5
    assert [link for link in links if not link.startswith("/")] == []
    for link in links:
        loaded = client.get(link, buffered=True)
        assert (loaded.status_code, len(loaded.data) > 100) == (200, True), link


def test_the_page_may_reach_no_other_host(app: APIFlask) -> None:
    policy = app.test_client().get("/docs", buffered=True).headers["Content-Security-Policy"]
    directives = dict(directive.strip().split(" ", 1) for directive in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert "http" not in policy
    assert "*" not in policy


@pytest.mark.parametrize("name", ["index.html", "../app.py", "..%2fapp.py", "package.json", "swagger-ui.js"])
def test_nothing_else_is_served(app: APIFlask, name: str) -> None:
    assert app.test_client().get(f"/docs/{name}").status_code == 404


def test_the_root_leads_to_the_documents(app: APIFlask) -> None:
    assert app.test_client().get("/").headers["Location"] == "/docs"


def test_the_document_is_whole(app: APIFlask) -> None:
    spec = get_json(app, "/openapi.json")
    assert spec["openapi"].startswith("3.1")
    ids = [operation["operationId"] for item in spec["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids)) >= 20
    references = set(re.findall(r"'\$ref': '#/components/schemas/([^']+)'", str(spec)))
    assert references
    assert references <= set(spec["components"]["schemas"])


def test_the_documented_strategies_are_those_of_the_use_case() -> None:
    assert Strategy.__args__ == STRATEGIES  # type: ignore[attr-defined]
