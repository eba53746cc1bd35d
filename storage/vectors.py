"""Vectors of generations in pgvector: one plain table each.

A table gets its HNSW index when it has outgrown exact search and what feeds it pauses: see storage/vector_builds.py.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import CursorResult, delete, func, select, text
from sqlalchemy.dialects.postgresql import BYTEA

from core.filters import Filter
from core.models import Census, ScoredImage, Vector, Vectors
from storage.arrays import any_id
from storage.halfvec import as_text, from_wire
from storage.transaction import Transaction
from storage.vector_search import Probe, VectorSearch
from storage.vector_tables import shape, table_name, vector_table, without_hnsw

MAX_DIM = 4000
"""What HNSW can index in half precision."""

_ALMOST = 0.99  # what follows when all pages are read takes a moment more
_PROGRESS = """
    SELECT CAST(blocks_done AS float) / nullif(blocks_total, 0) FROM pg_stat_progress_create_index
    WHERE relid = to_regclass(:name) LIMIT 1
"""


class SqlVectors:
    """Implements `core.ports.VectorIndex`. A generation without a table reads as an empty one."""

    def __init__(self, transaction: Transaction, *, ef_search: int, exact_below: int) -> None:
        self._transaction = transaction
        self._exact_below = exact_below
        self._search = VectorSearch(transaction, ef_search=ef_search, exact_below=exact_below)

    def ensure(self, index_id: UUID, dim: int) -> None:
        """Create the generation's table if missing; safe when called by two workers at once."""
        if not 0 < dim <= MAX_DIM:
            raise ValueError(f"A generation's vectors have 1 to {MAX_DIM} dimensions, not {dim}.")
        if self._exists(index_id):
            return
        name = table_name(index_id)
        self._run("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))", name=name)
        self._run(f"CREATE TABLE IF NOT EXISTS {name} (image_id uuid PRIMARY KEY, vector halfvec({dim}) NOT NULL)")
        # In the row itself: fetching long vectors from a side table costs more than comparing them.
        self._run(f"ALTER TABLE {name} ALTER COLUMN vector SET STORAGE PLAIN")

    def upsert(self, index_id: UUID, image_ids: Sequence[UUID], vectors: Vectors) -> None:
        """Write unit vectors [n, d]; of several for one image the last one."""
        by_id = dict(zip(image_ids, vectors, strict=True))
        self._run(
            f"INSERT INTO {table_name(index_id)} (image_id, vector) "  # noqa: S608 - the name is a UUID's hex digits
            "SELECT image_id, CAST(vector AS halfvec) "
            "FROM unnest(CAST(:image_ids AS uuid[]), CAST(:vectors AS text[])) AS new (image_id, vector) "
            "ORDER BY image_id "  # so that all writers lock rows in one and the same order
            "ON CONFLICT (image_id) DO UPDATE SET vector = excluded.vector",
            image_ids=list(by_id),
            vectors=[as_text(vector) for vector in by_id.values()],
        )

    def remove(self, index_id: UUID, image_ids: Sequence[UUID]) -> None:
        """Delete vectors; absent ones are no error, nor is a generation without a table."""
        if self._exists(index_id):
            stored = vector_table(index_id)
            self._transaction.execute(delete(stored).where(stored.c.image_id == any_id(image_ids)))

    def fetch(self, index_id: UUID, image_ids: Sequence[UUID]) -> dict[UUID, Vector]:
        """Stored vectors of those ids that have one."""
        if not self._exists(index_id):
            return {}
        stored = vector_table(index_id)
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
        """Highest inner products first, ties by image id. See storage/vector_search.py for the ways there."""
        norm = float(np.linalg.norm(probe)) or 1.0  # at unit length the probe keeps all of its half-precision bits
        asked = Probe(index_id, (probe / norm).astype(np.float32), limit, where)
        rows = self._search.nearest(asked, exact=exact)
        hits = (ScoredImage(row.id, row.external_id, -row.distance * norm) for row in rows)
        return tuple(sorted(hits, key=lambda hit: (-hit.score, hit.image_id)))

    def missing(self, index_id: UUID, *, after: UUID | None, limit: int) -> tuple[UUID, ...]:
        """Images of the generation's gallery without a vector, by id, those that follow `after`."""
        absent = f"AND NOT EXISTS (SELECT FROM {table_name(index_id)} WHERE image_id = images.id)"
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
            f"FULL JOIN {table_name(index_id)} AS stored ON stored.image_id = image.id "
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
            f"SELECT image_id FROM {table_name(index_id)} TABLESAMPLE BERNOULLI (:percent) "  # noqa: S608
            "ORDER BY random() LIMIT :size",  # the surplus would else be that of the last pages
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
            f"FROM (SELECT vector FROM {table_name(index_id)} TABLESAMPLE BERNOULLI (:percent) REPEATABLE (0) "
            "LIMIT :sample) AS drawn",
            percent=_percent(sample, total),
            sample=sample,
        ).one()
        return np.asarray(row[0], np.float32), row[1]

    def count(self, index_id: UUID) -> int:
        """Vectors of the generation, counted one by one; 0 when it has no table yet."""
        if not self._exists(index_id):
            return 0
        return int(self._transaction.execute(select(func.count()).select_from(vector_table(index_id))).scalar_one())

    def drop(self, index_id: UUID) -> None:
        """Drop the generation's table if it is there."""
        self.end_build(index_id)  # it holds a lock for as long as it takes
        self._run(f"DROP TABLE IF EXISTS {table_name(index_id)}")

    def end_build(self, index_id: UUID) -> None:
        """Cancel the build of the generation's index, if one runs."""
        self._run(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index WHERE relid = to_regclass(:name)",
            name=table_name(index_id),
        )

    def outgrown(self) -> Mapping[UUID, int]:
        """Generations too large for exact search without a complete HNSW index, and about how many rows each has."""
        small = self._exact_below
        return {index_id: rows for index_id, rows in without_hnsw(self._transaction).items() if rows > small}

    def built(self, index_id: UUID) -> float:
        """1.0 with a complete index, or too small for one; below it, the share of pages that a build has read."""
        known = shape(self._transaction, index_id)
        if known is None or known.has_hnsw or known.rows <= self._exact_below:
            return 1.0
        progress = self._run(_PROGRESS, name=table_name(index_id)).scalar_one_or_none()
        return min(float(progress or 0.0), _ALMOST)

    def _exists(self, index_id: UUID) -> bool:
        return self._run("SELECT to_regclass(:name) IS NOT NULL", name=table_name(index_id)).scalar_one() is True

    def _run(self, sql: str, **parameters: object) -> CursorResult[*tuple[Any, ...]]:
        return self._transaction.execute(text(sql), parameters)


def _percent(sample: int, total: int) -> float:
    enough = sample + 5 * sqrt(sample) + 5  # the draw's size varies; the surplus is cut off
    return min(100.0, 100.0 * enough / total)
