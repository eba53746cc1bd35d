"""Bringing a database to the present revision, and checking that it is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from storage.engine import CONNECT_TIMEOUT_S, postgres_url
from storage.tables import Base
from storage.transaction import translated

_MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def upgrade(database_url: str) -> None:
    """Apply all missing revisions; concurrent calls take turns. UnavailableError when Postgres does not answer."""
    with _connected(database_url) as connection:
        command.upgrade(alembic_config(connection), "head")


def check_drift(database_url: str) -> tuple[str, ...]:
    """How the migrated tables differ from `storage.tables`; nothing when all is well."""
    with _connected(database_url) as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        return tuple(repr(difference) for difference in compare_metadata(context, Base.metadata))


def alembic_config(connection: Connection) -> Config:
    """What Alembic's commands need to work on this connection."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _connected(database_url: str) -> Iterator[Connection]:
    options = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "setr-migrate"}
    engine = create_engine(postgres_url(database_url), poolclass=NullPool, connect_args=options)
    with translated(), engine.connect() as connection:
        yield connection
