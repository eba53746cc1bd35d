"""Bringing a database to the present revision, and checking that it is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from storage.engine import CONNECT_TIMEOUT_S, postgres_url
from storage.tables import Base
from storage.transaction import translated

_MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def upgrade(database_url: str) -> None:
    """Apply all missing revisions; concurrent calls take turns. UnavailableError when Postgres does not answer."""
    with _connected(database_url) as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check_drift(database_url: str) -> tuple[str, ...]:
    """How the migrated tables differ from `storage.tables`; nothing when all is well."""
    with _connected(database_url) as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        return tuple(repr(difference) for difference in compare_metadata(context, Base.metadata))


def is_current(database_url: str) -> bool:
    """Whether every revision that this release knows is applied. UnavailableError when Postgres does not answer."""
    heads = set(ScriptDirectory.from_config(_config()).get_heads())
    with _connected(database_url) as connection:
        return heads <= set(MigrationContext.configure(connection).get_current_heads())


@contextmanager
def _connected(database_url: str) -> Iterator[Connection]:
    options = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "setr-migrate"}
    engine = create_engine(postgres_url(database_url), poolclass=NullPool, connect_args=options)
    with translated(), engine.connect() as connection:
        yield connection


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config
