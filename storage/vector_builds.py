"""HNSW indexes of whole generations, built in bulk while searches and writes go on. See docs/adr/0022."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from contextlib import suppress
from typing import Any, cast
from uuid import UUID

import psycopg
from psycopg.errors import QueryCanceled, UndefinedTable
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from core.settings import Settings
from storage.transaction import translated
from storage.vector_tables import hnsw_name, table_name

_ASK_EVERY_S = 1.0
_CANCEL_TIMEOUT_S = 5.0

_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 1))")
_FOUND = text("""
    SELECT to_regclass(:table) IS NOT NULL AS has_table,
        (SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:hnsw)) AS is_valid
""")
_MEANS = text("""
    SELECT set_config('maintenance_work_mem', :memory, false), set_config('statement_timeout', '0', false),
        set_config('max_parallel_maintenance_workers', :workers, false)
""")


class SqlVectorBuilder:
    """Implements `core.ports.VectorBuilder`, on a connection of its own for each build."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._means = {"memory": f"{settings.hnsw_build_memory_mib}MB", "workers": str(settings.hnsw_build_workers)}

    def build(self, index_id: UUID, *, stopping: Callable[[], bool]) -> bool:
        """Build the index CONCURRENTLY. Returns whether it is there. UnavailableError when Postgres is gone."""
        with translated(), self._engine.connect() as pooled:
            connection = pooled.execution_options(isolation_level="AUTOCOMMIT")
            connection.detach()  # its lock and its settings end with it
            if not connection.execute(_LOCK, {"name": table_name(index_id)}).scalar_one():
                return False
            try:
                return self._build(connection, index_id, stopping)
            except DBAPIError as error:
                # Ended by us or by whoever drops the generation, or dropped before it began.
                if isinstance(error.orig, QueryCanceled | UndefinedTable):
                    return False
                raise

    def _build(self, connection: Connection, index_id: UUID, stopping: Callable[[], bool]) -> bool:
        table, hnsw = table_name(index_id), hnsw_name(index_id)
        found = connection.execute(_FOUND, {"table": table, "hnsw": hnsw}).one()
        if found.is_valid or not found.has_table:
            return bool(found.is_valid)
        # What an ended build left. It did not wait for clearing that away itself: that waits for everybody who writes.
        connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {hnsw}")
        connection.execute(_MEANS, self._means)
        name = hnsw.rpartition(".")[2]
        create = f"CREATE INDEX CONCURRENTLY {name} ON {table} USING hnsw (vector halfvec_ip_ops)"
        _run(connection, create, stopping)
        return True


def _run(connection: Connection, statement: str, stopping: Callable[[], bool]) -> None:
    """Run it in a thread of its own, because only Postgres can be asked to end it, and end it when `stopping`."""
    driver = cast("psycopg.Connection[Any]", connection.connection.dbapi_connection)
    with ThreadPoolExecutor(1, thread_name_prefix="build") as thread:
        running = thread.submit(connection.exec_driver_sql, statement)
        while True:
            try:
                running.result(timeout=_ASK_EVERY_S)
            except NotYetError:
                if stopping():
                    with suppress(psycopg.OperationalError):  # we ask again in a moment
                        driver.cancel_safe(timeout=_CANCEL_TIMEOUT_S)
            else:
                return
