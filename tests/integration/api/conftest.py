"""The application on real Postgres, Redis and S3, without any worker."""

from collections.abc import Callable
from typing import Any

import pytest
from apiflask import APIFlask

from api.app import create_app
from cli.local.services import RunningServices
from core import access
from core.context import Context, SystemClock
from core.ports import UnitOfWorkFactory
from storage.objects import S3ObjectStore
from workers.dispatch import CeleryDoorbell


@pytest.fixture
def ctx(services: RunningServices, uow_factory: UnitOfWorkFactory, object_store: S3ObjectStore) -> Context:
    return Context(
        uow=uow_factory,
        objects=object_store,
        doorbell=CeleryDoorbell(services.redis_url),
        clock=SystemClock(),
        settings=services.settings,
    )


@pytest.fixture
def app(ctx: Context) -> APIFlask:
    return create_app(ctx)


Call = Callable[..., Any]


def caller(app: APIFlask, ctx: Context, tenant: str) -> Call:
    """Requests with a key of the tenant; each has a client of its own, so that threads may share the caller."""
    key = access.issue_key(ctx.uow, tenant=tenant, label="test")

    def call(method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {key}", **options.pop("headers", {})}
        return app.test_client().open(path, method=method, headers=headers, **options)

    return call


@pytest.fixture
def call(app: APIFlask, ctx: Context) -> Call:
    return caller(app, ctx, "shop")


@pytest.fixture
def stranger(app: APIFlask, ctx: Context) -> Call:
    return caller(app, ctx, "another")
