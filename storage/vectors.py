"""Vectors of generations in pgvector: one plain table each, `vectors.g_<hex id>`, with its own HNSW index.

An insert into HNSW costs more than many an encoder, and below a certain size nobody searches it. So a table starts
without, and the batch that makes it outgrow exact search builds the index: in bulk, for seconds rather than minutes.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import (
    CursorResult,
    FromClause,
    Row,
    Select,
    TableClause,
    Uuid,
    column,
    delete,
    func,
    select,
    table,
    text,
)
from sqlalchemy.dialects.postgresql import BYTEA

from core.filters import Filter
from core.models import Census, ScoredImage, Vector, Vectors
from storage.arrays import any_id
from storage.filters import predicate
from storage.halfvec import HalfVector, as_text, from_wire, negative_inner_product
from storage.tables import ImageRow, IndexRow
from storage.transaction import Transaction

SCHEMA = "vectors"
MAX_DIM = 4000
"""What HNSW can index in half precision."""

_MAX_EF_SEARCH = 1000  # pgvector's own bound
_ROW_BYTES = 56  # of a row besides its 2 * dim bytes of numbers: enough for telling about how many rows there are
_BUILD_MEMORY = "256MB"  # what does not fit is built several times slower
_HNSW = text("""
    SELECT set_config('hnsw.ef_search', :ef_search, true), set_config('hnsw.iterative_scan', 'strict_order', true)
""")


class SqlVectors:
    """Implements `core.ports.VectorIndex`. A generation without a table reads as an empty one."""

    def __init__(self, transaction: Transaction, *, ef_search: int, exact_below: int) -> None:
        self._transaction = transaction
        self._ef_search = ef_search
        self._exact_below = exact_below

    def ensure(self, index_id: UUID, dim: int) -> None:
        """Create the generation's table if missing; safe when called by two workers at once."""
        if not 0 < dim <= MAX_DIM:
            raise ValueError(f"A generation's vectors have 1 to {MAX_DIM} dimensions, not {dim}.")
        if self._exists(index_id):
            return
        name = _name(index_id)
        self._run("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))", name=name)
        self._run(f"CREATE TABLE IF NOT EXISTS {name} (image_id uuid PRIMARY KEY, vector halfvec({dim}) NOT NULL)")
        # In the row itself: fetching long vectors from a side table costs more than comparing them.
        self._run(f"ALTER TABLE {name} ALTER COLUMN vector SET STORAGE PLAIN")

    def upsert(self, index_id: UUID, image_ids: Sequence[UUID], vectors: Vectors) -> None:
        """Write unit vectors [n, d]; of several for one image the last one."""
        by_id = dict(zip(image_ids, vectors, strict=True))
        self._run(
            f"INSERT INTO {_name(index_id)} (image_id, vector) "  # noqa: S608 - the name is a UUID's hex digits
            "SELECT image_id, CAST(vector AS halfvec) "
            "FROM unnest(CAST(:image_ids AS uuid[]), CAST(:vectors AS text[])) AS new (image_id, vector) "
            "ORDER BY image_id "  # so that all writers lock rows in one and the same order
            "ON CONFLICT (image_id) DO UPDATE SET vector = excluded.vector",
            image_ids=list(by_id),
            vectors=[as_text(vector) for vector in by_id.values()],
        )
        self._index_if_large(index_id, dim=vectors.shape[1])

    def remove(self, index_id: UUID, image_ids: Sequence[UUID]) -> None:
        """Delete vectors; absent ones are no error, nor is a generation without a table."""
        if self._exists(index_id):
            stored = _table(index_id)
            self._transaction.execute(delete(stored).where(stored.c.image_id == any_id(image_ids)))

    def fetch(self, index_id: UUID, image_ids: Sequence[UUID]) -> dict[UUID, Vector]:
        """Stored vectors of those ids that have one."""
        if not self._exists(index_id):
            return {}
        stored = _table(index_id)
        sent = func.halfvec_send(stored.c.vector, type_=BYTEA)  # a hundred times faster to read than its text
        rows = self._transaction.execute(
            select(stored.c.image_id, sent).where(stored.c.image_id == any_id(image_ids))
        ).all()
        if not rows:
            return {}
        return dict(zip((row[0] for row in rows), from_wire([row[1] for row in rows]), strict=True))

    def search(
        self, index_id: UUID, probe: Vector, *, limit: int, where: Filter | None, exact: bool
    ) -> tuple[ScoredImage, ...]:
        """Highest inner products first, ties by image id. `exact` scans; else HNSW with iterative scan.

        Where HNSW finds fewer than `limit`, because hardly any vector near the probe passes the filter, a scan decides.
        """
        if not self._exists(index_id):
            return ()
        norm = float(np.linalg.norm(probe)) or 1.0  # at unit length the probe keeps all of its half-precision bits
        unit = (probe / norm).astype(np.float32)
        rows = () if exact else self._near(index_id, unit, limit, where)
        if len(rows) < limit:
            rows = self._nearest(index_id, unit, limit, where)
        hits = (ScoredImage(row.id, row.external_id, -row.distance * norm) for row in rows)
        return tuple(sorted(hits, key=lambda hit: (-hit.score, hit.image_id)))

    def _near(self, index_id: UUID, unit: Vector, limit: int, where: Filter | None) -> Sequence[Row[Any]]:
        # With a filter the results lie deeper in the graph, where a narrow search misses more.
        ef_search = min(max(self._ef_search * (1 if where is None else 2), limit), _MAX_EF_SEARCH)
        self._transaction.execute(_HNSW, {"ef_search": str(ef_search)})
        stored = _table(index_id)
        distance = negative_inner_product(stored.c.vector, unit).label("distance")
        if where is None:  # then the join may wait until the nearest are known
            first = select(stored.c.image_id, distance).order_by(distance).limit(limit).subquery()
            return self._transaction.execute(_images(first)).all()
        passing = _passing(index_id, where).subquery()
        statement = (
            select(passing.c.id, passing.c.external_id, distance)
            .join_from(passing, stored, stored.c.image_id == passing.c.id)
            .order_by(distance)
            .limit(limit)
        )
        return self._transaction.execute(statement).all()

    def _nearest(self, index_id: UUID, unit: Vector, limit: int, where: Filter | None) -> Sequence[Row[Any]]:
        stored = _table(index_id)
        # No index knows this sum, so all rows are compared.
        distance = (negative_inner_product(stored.c.vector, unit) + 0).label("distance")
        if where is None:
            first = select(stored.c.image_id, distance).order_by(distance, stored.c.image_id).limit(limit).subquery()
            rows = self._transaction.execute(_images(first)).all()
            if len(rows) == limit:
                return rows
        # The filter first, whatever the planner guesses about it: only what passes is compared.
        passing = _passing(index_id, where).cte("passing").prefix_with("MATERIALIZED")
        statement = (
            select(passing.c.id, passing.c.external_id, distance)
            .join_from(passing, stored, stored.c.image_id == passing.c.id)
            .order_by(distance, passing.c.id)
            .limit(limit)
        )
        return self._transaction.execute(statement).all()

    def missing(self, index_id: UUID, *, after: UUID | None, limit: int) -> tuple[UUID, ...]:
        """Images of the generation's gallery without a vector, by id, those that follow `after`."""
        absent = f"AND NOT EXISTS (SELECT FROM {_name(index_id)} WHERE image_id = images.id)"
        rows = self._run(
            "SELECT images.id FROM images "  # noqa: S608 - a UUID's hex digits
            "WHERE gallery_id = (SELECT gallery_id FROM indexes WHERE id = :index_id) AND images.id > :after "
            f"{absent if self._exists(index_id) else ''} ORDER BY images.id LIMIT :limit",
            index_id=index_id,
            after=after or UUID(int=0),
            limit=limit,
        )
        return tuple(rows.scalars())

    def census(self, index_id: UUID) -> Census:
        """Compare the generation with its gallery, image by image, in one statement and so at one moment."""
        if not self._exists(index_id):
            return Census(0, len(self.missing(index_id, after=None, limit=1)), 0)
        row = self._run(
            "SELECT count(stored.image_id) AS vectors, "  # noqa: S608 - a UUID's hex digits
            "count(*) FILTER (WHERE stored.image_id IS NULL AND owed.image_id IS NULL) AS missing, "
            "count(*) FILTER (WHERE image.id IS NULL AND owed.image_id IS NULL) AS surplus "
            "FROM (SELECT id FROM images "
            "WHERE gallery_id = (SELECT gallery_id FROM indexes WHERE id = :index_id)) AS image "
            f"FULL JOIN {_name(index_id)} AS stored ON stored.image_id = image.id "
            "LEFT JOIN pending_vectors AS owed "
            "ON owed.index_id = :index_id AND owed.image_id = coalesce(image.id, stored.image_id)",
            index_id=index_id,
        ).one()
        return Census(row.vectors, row.missing, row.surplus)

    def sample(self, index_id: UUID, *, size: int) -> tuple[UUID, ...]:
        """Up to `size` images that have a vector, drawn evenly."""
        total = self.count(index_id)
        if total == 0:
            return ()
        drawn = self._run(
            f"SELECT image_id FROM {_name(index_id)} TABLESAMPLE BERNOULLI (:percent) LIMIT :size",  # noqa: S608
            percent=_percent(size, total),
            size=size,
        )
        return tuple(drawn.scalars())

    def mean(self, index_id: UUID, *, sample: int) -> tuple[Vector, int] | None:
        """Mean of up to `sample` vectors, drawn evenly, and how many it took; None when there is none."""
        total = self.count(index_id)
        if total == 0:
            return None
        row = self._run(
            "SELECT CAST(avg(CAST(vector AS vector)) AS real[]), count(*) "  # noqa: S608 - a UUID's hex digits
            f"FROM (SELECT vector FROM {_name(index_id)} TABLESAMPLE BERNOULLI (:percent) REPEATABLE (0) "
            "LIMIT :sample) AS drawn",
            percent=_percent(sample, total),
            sample=sample,
        ).one()
        return np.asarray(row[0], np.float32), row[1]

    def count(self, index_id: UUID) -> int:
        """Vectors of the generation, counted one by one; 0 when it has no table yet."""
        if not self._exists(index_id):
            return 0
        return int(self._transaction.execute(select(func.count()).select_from(_table(index_id))).scalar_one())

    def drop(self, index_id: UUID) -> None:
        """Drop the generation's table if it is there."""
        self._run(f"DROP TABLE IF EXISTS {_name(index_id)}")

    def _index_if_large(self, index_id: UUID, *, dim: int) -> None:
        name, hnsw = _name(index_id), f"g_{index_id.hex}_hnsw"
        due = self._run(
            "SELECT to_regclass(:hnsw) IS NULL AND pg_relation_size(CAST(:name AS regclass)) > :large",
            hnsw=f"{SCHEMA}.{hnsw}",
            name=name,
            large=self._exact_below * (_ROW_BYTES + 2 * dim),
        ).scalar_one()
        # Whoever else finds it due goes on without: two that wait for each other's rows would be a deadlock.
        if due and self._run("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 1))", name=name).scalar_one():
            self._run(f"SET LOCAL maintenance_work_mem = '{_BUILD_MEMORY}'")
            self._run(f"CREATE INDEX IF NOT EXISTS {hnsw} ON {name} USING hnsw (vector halfvec_ip_ops)")

    def _exists(self, index_id: UUID) -> bool:
        return self._run("SELECT to_regclass(:name) IS NOT NULL", name=_name(index_id)).scalar_one() is True

    def _run(self, sql: str, **parameters: object) -> CursorResult[*tuple[Any, ...]]:
        return self._transaction.execute(text(sql), parameters)


def _percent(sample: int, total: int) -> float:
    enough = sample + 5 * sqrt(sample) + 5  # the draw's size varies; the surplus is cut off
    return min(100.0, 100.0 * enough / total)


def _name(index_id: UUID) -> str:
    return f"{SCHEMA}.g_{index_id.hex}"


def _table(index_id: UUID) -> TableClause:
    return table(f"g_{index_id.hex}", column("image_id", Uuid), column("vector", HalfVector), schema=SCHEMA)


def _images(found: FromClause) -> Select[*tuple[Any, ...]]:
    """What was found by vector, joined with the images, so that vectors of deleted ones never return."""
    return select(ImageRow.id, ImageRow.external_id, found.c.distance).join_from(
        found, ImageRow, ImageRow.id == found.c.image_id
    )


def _passing(index_id: UUID, where: Filter | None) -> Select[*tuple[Any, ...]]:
    """Images of the generation's gallery that pass the filter."""
    gallery_id = select(IndexRow.gallery_id).where(IndexRow.id == index_id).scalar_subquery()
    return select(ImageRow.id, ImageRow.external_id).where(ImageRow.gallery_id == gallery_id, predicate(where))
