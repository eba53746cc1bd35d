"""Keys, scopes and tenants; the endpoints come from the OpenAPI document, so that a new one cannot be forgotten."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from apiflask import APIFlask

from api.auth_cache import PrincipalCache
from core.ids import new_id
from core.models import Gallery, Principal, Scope
from core.settings import Settings
from tests.unit.api.conftest import Caller, caller, get_json
from tests.unit.api.fakes import World

PUBLIC = {"/healthz", "/metrics", "/readyz"}


def operations(app: APIFlask) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in get_json(app, "/openapi.json")["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def concrete(path: str) -> str:
    return path.format(gallery="summer", image_id=new_id(), job_id=new_id(), index_id=new_id())


def test_every_operation_but_the_public_ones_is_protected(app: APIFlask) -> None:
    assert {path for _, path, operation in operations(app) if "security" not in operation} == PUBLIC


def test_no_operation_answers_without_a_key(app: APIFlask) -> None:
    client = app.test_client()
    for method, path, operation in operations(app):
        if "security" not in operation:
            continue
        response = client.open(concrete(path), method=method)
        assert response.status_code == 401, (method, path)
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Bearer unknown", "Basic eDp5", "nonsense", "Bearer a b", "Bearer \x80"]
)
def test_what_is_no_key(app: APIFlask, header: str) -> None:
    response = app.test_client().get("/jobs", headers={"Authorization": header})
    assert response.status_code == 401


def test_a_scope_opens_only_its_own_operations(app: APIFlask, world: World, settings: Settings) -> None:
    for scope in (Scope.READ, Scope.WRITE, Scope.QUERY):
        call = caller(app, world, settings, "shop", [scope])
        for method, path, operation in operations(app):
            if "security" not in operation:
                continue
            allowed = {name for way in operation["security"] for name in way["ApiKey"]}
            status = call(method, concrete(path)).status_code
            assert (status == 403) == (scope.value not in allowed), (scope, method, path, status)


def test_admin_may_do_everything(app: APIFlask, world: World, settings: Settings) -> None:
    call = caller(app, world, settings, "shop", [Scope.ADMIN])
    assert {call(method, concrete(path)).status_code for method, path, _ in operations(app)}.isdisjoint({401, 403})


def test_another_tenants_objects_do_not_exist(
    call: Caller, stranger: Caller, app: APIFlask, gallery: Gallery, world: World
) -> None:
    image = world.add_image(gallery, "sku-1")
    job = call("POST", "/galleries/summer/queries", json={"text": "red"}).json
    values = {"gallery": gallery.name, "image_id": image.id, "job_id": job["id"], "index_id": gallery.active_index_id}
    bodies: dict[str, dict[str, Any]] = {
        "patch_gallery": {"json": {}},
        "patch_image": {"json": {"attributes": {}}},
        "create_query": {"json": {"text": "red"}},
        "create_query_batch": {"data": {"file": (BytesIO(b'{"text": "red"}'), "q.jsonl")}},
        "create_export": {"json": {}},
        "give_feedback": {"json": {"judgments": [{"external_id": "sku-1", "relevant": True}]}},
        "create_index": {"json": {}},
        "create_import": {"data": {"file": (BytesIO(b"x"), "a.jpg")}},
        "put_schedule": {"json": {"cron": "0 3 * * *", "source": {"urls": ["https://a.example/1.jpg"]}}},
        "create_uploads": {"json": {"files": [{"filename": "a.jpg", "size_bytes": 1}]}},
    }
    with_parameters = [row for row in operations(app) if "{" in row[1]]
    assert len(with_parameters) >= 14
    for method, path, operation in with_parameters:
        response = stranger(method, path.format(**values), **bodies.get(operation["operationId"], {}))
        assert response.status_code == 404, (method, path, response.text)
        assert response.content_type == "application/problem+json"
    assert stranger("GET", "/jobs").json["items"] == []
    assert stranger("GET", "/galleries").json["items"] == []
    assert call("GET", f"/galleries/summer/images/{image.id}").status_code == 200


def test_a_key_is_looked_up_once_in_a_while(call: Caller, world: World) -> None:
    for _ in range(3):
        call("GET", "/galleries")
    assert world.store.api_keys.lookups == 1


def test_a_principal_is_forgotten_in_time() -> None:
    moments = iter([0.0, 1.9, 2.1])
    cache = PrincipalCache(ttl_s=2.0, now=lambda: next(moments))
    known = Principal(tenant_id=new_id(), key_id=new_id(), scopes=frozenset())
    cache.put("hash", known)
    assert cache.get("hash") is known
    assert cache.get("hash") is None
