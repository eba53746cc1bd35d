import subprocess
import sys
from collections.abc import Iterator

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from cli.local.services import RunningServices
from core.errors import UnavailableError
from storage import migrate
from storage.tables import Base

pytestmark = pytest.mark.integration

# All that makes up a schema, as Postgres itself writes it.
CATALOG = (
    """SELECT table_name, column_name, data_type, udt_name, column_default, is_nullable, identity_generation
       FROM information_schema.columns WHERE table_schema = 'public'""",
    """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
       WHERE connamespace = 'public'::regnamespace AND contype <> 'n'""",
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT relname, reloptions FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
)


@pytest.fixture
def server(services: RunningServices) -> Iterator[Connection]:
    engine = create_engine(services.database_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def empty(server: Connection) -> Iterator[str]:
    """URL of a database of its own, without any table."""
    name = "empty"
    server.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
    server.execute(text(f"CREATE DATABASE {name}"))
    yield server.engine.url.set(database=name).render_as_string(hide_password=False)
    server.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def catalog(url: str) -> list[set[tuple[object, ...]]]:
    with _engine(url).connect() as connection:
        found = [{tuple(map(str, row)) for row in connection.execute(text(query))} for query in CATALOG]
    return [{row for row in rows if not any("alembic_version" in str(value) for value in row)} for rows in found]


def _engine(url: str) -> Engine:
    return create_engine(make_url(url), poolclass=NullPool)


def test_migrations_from_empty_make_exactly_the_mapped_tables(empty: str, server: Connection) -> None:
    migrate.upgrade(empty)
    assert migrate.check_drift(empty) == ()
    migrated = catalog(empty)
    server.execute(text("CREATE DATABASE mapped"))
    try:
        mapped = server.engine.url.set(database="mapped").render_as_string(hide_password=False)
        Base.metadata.create_all(_engine(mapped))
        assert catalog(mapped) == migrated
    finally:
        server.execute(text("DROP DATABASE mapped WITH (FORCE)"))


def test_every_revision_can_be_undone_and_done_again(empty: str) -> None:
    migrate.upgrade(empty)
    before = catalog(empty)
    with _engine(empty).connect() as connection:
        config = migrate.alembic_config(connection)
        command.downgrade(config, "base")
        assert migrate.check_drift(empty)
        command.upgrade(config, "head")
    assert catalog(empty) == before


def test_upgrades_at_once_take_turns(empty: str) -> None:
    """By two processes, as Alembic keeps its context in globals."""
    program = [sys.executable, "-c", "import sys; from storage.migrate import upgrade; upgrade(sys.argv[1])", empty]
    both = [subprocess.Popen(program) for _ in range(2)]  # noqa: S603 - our own program
    assert [each.wait() for each in both] == [0, 0]
    assert migrate.check_drift(empty) == ()


def test_vector_tables_are_no_drift(empty: str) -> None:
    migrate.upgrade(empty)
    with _engine(empty).begin() as connection:
        connection.execute(text("CREATE TABLE vectors.g_1 (image_id uuid PRIMARY KEY, vector halfvec(3) NOT NULL)"))
    assert migrate.check_drift(empty) == ()


def test_drift_is_told(empty: str) -> None:
    migrate.upgrade(empty)
    with _engine(empty).begin() as connection:
        connection.execute(text("ALTER TABLE images DROP COLUMN width"))
    (difference,) = migrate.check_drift(empty)
    assert "width" in difference


def test_without_pgvector_the_upgrade_says_what_to_do(empty: str, server: Connection) -> None:
    server.execute(text("DROP ROLE IF EXISTS shop"))
    server.execute(text("CREATE ROLE shop LOGIN PASSWORD 'shop'"))
    with _engine(empty).begin() as connection:
        connection.execute(text("DROP EXTENSION vector"))
        connection.execute(text("GRANT CREATE ON SCHEMA public TO shop"))
    url = make_url(empty).set(username="shop", password="shop").render_as_string(hide_password=False)
    with pytest.raises(RuntimeError, match="CREATE EXTENSION vector"):
        migrate.upgrade(url)


def test_an_absent_server_is_unavailable() -> None:
    with pytest.raises(UnavailableError):
        migrate.upgrade("postgresql://setr:setr@127.0.0.1:1/setr")
