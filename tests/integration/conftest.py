"""Real Postgres, Redis and S3, started once; each test finds an empty database and an empty bucket."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from cli.local.services import RunningServices, running_services
from core.ports import UnitOfWorkFactory
from storage.engine import create_engine
from storage.migrate import upgrade
from storage.objects import S3ObjectStore
from storage.tables import Base
from storage.uow import uow_factory as make_uow_factory

_VECTOR_TABLES = text("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'vectors'")


@pytest.fixture(scope="session")
def services() -> Iterator[RunningServices]:
    with running_services(fsync=False) as running:
        yield running


@pytest.fixture(scope="session")
def migrated_database(services: RunningServices) -> str:
    """URL of the database, at the present revision."""
    upgrade(services.database_url)
    return services.database_url


@pytest.fixture(scope="session")
def pool(services: RunningServices, migrated_database: str) -> Iterator[Engine]:
    """The connections of all tests."""
    engine = create_engine(services.settings.model_copy(update={"database_url": migrated_database}))
    yield engine
    engine.dispose()


@pytest.fixture
def engine(pool: Engine) -> Iterator[Engine]:
    """A connection pool on a database without rows, and without vector tables."""
    yield pool
    with pool.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))  # no foreign keys, so in any order
        for table in Base.metadata.tables.values():  # faster than TRUNCATE where there are few rows
            connection.execute(table.delete())
        for name in connection.execute(_VECTOR_TABLES).scalars().all():
            connection.execute(text(f"DROP TABLE vectors.{name}"))


@pytest.fixture
def uow_factory(engine: Engine, services: RunningServices) -> UnitOfWorkFactory:
    return make_uow_factory(engine, services.settings)


@pytest.fixture
def object_store(services: RunningServices) -> Iterator[S3ObjectStore]:
    store = S3ObjectStore(services.settings)
    store.ensure_bucket()
    yield store
    store.delete(list(store.keys("")))
