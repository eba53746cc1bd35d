"""A shop whose imports run in the test's own process."""

import pytest
from sqlalchemy import Engine

from cli.local.services import RunningServices
from core.context import Context, SystemClock
from core.ports import UnitOfWorkFactory
from storage.objects import S3ObjectStore
from tests.integration.core.importing import Shop, open_shop
from tests.integration.core.test_durable import Bell
from tests.integration.storage import builders


@pytest.fixture
def shop(
    uow_factory: UnitOfWorkFactory, engine: Engine, services: RunningServices, object_store: S3ObjectStore
) -> Shop:
    settings = services.settings.model_copy(update={"unit_items": 4, "ingest_batch": 2, "embed_batch": 2})
    ctx = Context(uow_factory, object_store, Bell(), SystemClock(), settings)
    return open_shop(ctx, engine, builders.add_tenant(uow_factory))
