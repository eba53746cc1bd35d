"""A job as SQL shows it, from outside of the service and also while Postgres restarts."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from benchmarks.faults.plan import Kind

TERMINAL = frozenset({"succeeded", "partially_succeeded", "failed", "canceled"})
_LOOK = """
    SELECT state, coalesce(total, 0) AS total, created + updated + unchanged + deleted + failed + canceled AS done,
        (SELECT coalesce(sum(cursor), 0) FROM work_units WHERE job_id = jobs.id AND kind = 'fetch') AS fetched,
        (SELECT coalesce(sum(cursor), 0) FROM work_units WHERE job_id = jobs.id AND kind = 'embed') AS embedded
    FROM jobs WHERE id = %s
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """Committed work of an import; `fetched` and `embedded` are items that a stage has behind it."""

    state: str
    total: int
    done: int
    fetched: int
    embedded: int

    @property
    def ended(self) -> bool:
        """Whether the job is terminal."""
        return self.state in TERMINAL

    def behind(self, kind: Kind) -> int:
        """Items behind the stage that such a fault hits, as long as that stage lasts; else behind any stage."""
        if kind is Kind.KILL_INGEST and self.fetched < self.total:
            return self.fetched
        if kind is Kind.KILL_EMBED:
            return self.embedded
        return self.fetched + self.embedded + self.done

    def share(self, kind: Kind) -> float:
        """Share of the work that is done, 0..1: of fetching where the fault hits that, else of the job."""
        if not self.total:
            return 0.0
        return (self.fetched if kind is Kind.KILL_INGEST else self.done) / self.total


class Sql:
    """Reads the service's database; every statement sees the latest commits."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url.replace("+psycopg", "")
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.close()

    def rows(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        """All rows. psycopg.OperationalError while Postgres is away."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._url, autocommit=True, row_factory=dict_row, connect_timeout=2)
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except psycopg.OperationalError:
            self._connection.close()
            raise

    def value(self, sql: str, *parameters: object) -> Any:
        """The only value of the only row."""
        (row,) = self.rows(sql, *parameters)
        (value,) = row.values()
        return value

    def look(self, job_id: UUID) -> Progress | None:
        """The job's progress; None while Postgres is away."""
        try:
            (row,) = self.rows(_LOOK, job_id)
        except psycopg.OperationalError:
            return None
        counts = (int(row[name]) for name in ("total", "done", "fetched", "embedded"))
        return Progress(row["state"], *counts)
