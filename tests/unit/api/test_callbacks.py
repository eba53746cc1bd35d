"""`callback_url` over HTTP: what is one, and who may see the secret."""

from io import BytesIO
from typing import Any

import pytest
from apiflask import APIFlask

from core.models import Gallery, Scope
from core.settings import Settings
from tests.unit.api.conftest import Caller, caller
from tests.unit.api.fakes import World
from tests.unit.api.test_errors import assert_problem

BAD = ["", "ftp://shop.example/x", "https://user:secret@shop.example/", "shop.example/hook", "https://", "x" * 5000]


@pytest.mark.parametrize("url", BAD)
@pytest.mark.parametrize("call_name", ["import", "query", "export", "delete"])
def test_what_is_no_callback_url(call: Caller, gallery: Gallery, world: World, url: str, call_name: str) -> None:
    path = f"/galleries/{gallery.name}"
    calls: dict[str, tuple[str, str, dict[str, Any]]] = {
        "import": ("POST", f"{path}/imports", {"data": {"file": (BytesIO(b"x"), "a.jpg"), "callback_url": url}}),
        "query": ("POST", f"{path}/queries", {"json": {"text": "red", "callback_url": url}}),
        "export": ("POST", f"{path}/exports", {"json": {"callback_url": url}}),
        "delete": ("DELETE", path, {"query_string": {"callback_url": url}}),
    }
    method, target, options = calls[call_name]
    problem = assert_problem(call(method, target, **options), 422, "invalid_input")
    assert problem["errors"][0]["pointer"] == "/callback_url"
    assert world.store.jobs.rows == {}
    assert world.objects.held == {}
    assert call("GET", path).status_code == 200


def test_a_job_without_a_callback_has_no_deliveries(call: Caller, gallery: Gallery, world: World) -> None:
    path = f"/galleries/{gallery.name}/queries"
    without, with_url = (
        call("POST", path, json={"text": "red", **more}).json["links"]["deliveries"]
        for more in ({}, {"callback_url": "https://shop.example/hook?shop=1"})
    )
    assert without is None
    assert with_url.endswith("/deliveries")
    assert "https://shop.example/hook?shop=1" in {job.callback_url for job in world.store.jobs.rows.values()}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_only_admins_see_the_secret(app: APIFlask, world: World, settings: Settings, method: str) -> None:
    reader = caller(app, world, settings, "shop", [Scope.READ, Scope.WRITE, Scope.QUERY])
    assert_problem(reader(method, "/webhooks/secret"), 403, "forbidden")
