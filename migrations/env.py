"""How Alembic runs: on the connection that storage/migrate.py passes in, or on one of its own from the settings.

One upgrade at a time (an advisory lock), and none that makes the serving release wait: a statement that does not get
its table lock soon fails, and the upgrade is simply run again.
"""

from alembic import context
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from core.settings import load_settings
from storage.tables import Base

LOCK_TIMEOUT = "5s"
STATEMENT_TIMEOUT = "15min"
_ADVISORY_LOCK = 0x5E7A  # any number that nobody else uses in this database


def _migrate(connection: Connection) -> None:
    # Waiting for another upgrade is fine, hence before the timeouts. Ends with the connection, whatever happens.
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ADVISORY_LOCK})
    connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.execute(text(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'"))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_schemas=False,  # schema `vectors` is no business of migrations
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _ADVISORY_LOCK})
    connection.commit()


def _run() -> None:
    given: Connection | None = context.config.attributes.get("connection")
    if given is not None:
        _migrate(given)
        return
    url = make_url(load_settings().database_url).set(drivername="postgresql+psycopg")
    with create_engine(url, poolclass=NullPool).connect() as connection:
        _migrate(connection)


_run()
