"""An application on in-memory ports, and clients of two tenants."""

from collections.abc import Sequence
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient

from api.app import create_app
from core import access
from core.models import Gallery, Scope
from core.settings import Settings
from tests.unit.api.fakes import World


@pytest.fixture
def settings() -> Settings:
    return Settings(
        max_upload_mib=1, max_reference_mib=1, api_threads=4, import_prefixes={"shop": ["s3://catalog/shop/"]}
    )


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def app(world: World, settings: Settings) -> APIFlask:
    return create_app(world.context(settings))


def get_json(app: APIFlask, path: str) -> dict[str, Any]:
    """What a public path answers."""
    body = app.test_client().get(path).get_json()
    assert isinstance(body, dict)
    return body


class Caller:
    """A client that sends its key with each request."""

    def __init__(self, client: FlaskClient, key: str) -> None:
        self._client = client
        self.key = key

    def __call__(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return self._client.open(path, method=method, headers=headers, **options)


def caller(app: APIFlask, world: World, settings: Settings, tenant: str, scopes: Sequence[Scope]) -> Caller:
    key = access.issue_key(world.context(settings).uow, tenant=tenant, label="test", scopes=scopes)
    return Caller(app.test_client(), key)


@pytest.fixture
def call(app: APIFlask, world: World, settings: Settings) -> Caller:
    """The shop."""
    return caller(app, world, settings, "shop", list(Scope))


@pytest.fixture
def stranger(app: APIFlask, world: World, settings: Settings) -> Caller:
    """Another tenant with all scopes."""
    return caller(app, world, settings, "another", list(Scope))


@pytest.fixture
def gallery(call: Caller, world: World) -> Gallery:
    """The shop's gallery `summer`."""
    assert call("POST", "/galleries", json={"name": "summer"}).status_code == 201
    return next(iter(world.store.galleries.rows.values()))
