"""Vectors that generations are owed."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from core.models import Index
from storage.repositories.indexes import index_of, select_indexes
from storage.transaction import Transaction

_ADD = text("""
    INSERT INTO pending_vectors (index_id, image_id)
    SELECT :index_id, image_id FROM unnest(CAST(:image_ids AS uuid[])) AS owed (image_id) ORDER BY image_id
    ON CONFLICT DO NOTHING
""")

_REMOVE = text("""
    DELETE FROM pending_vectors WHERE index_id = :index_id AND image_id = ANY (CAST(:image_ids AS uuid[]))
""")

# What a job has failed on is left to the next one.
_OWED = """
    FROM pending_vectors
    WHERE index_id = :index_id AND image_id NOT IN (
        SELECT images.id FROM job_items
        JOIN indexes ON indexes.id = :index_id
        JOIN images ON images.gallery_id = indexes.gallery_id AND images.external_id = job_items.external_id
        WHERE job_items.job_id = :besides AND job_items.outcome = 'failed')
"""

_COUNT = text(f"SELECT count(*) {_OWED}")

_PAGE = text(f"""
    SELECT image_id {_OWED} AND image_id > :after AND image_id <= :until ORDER BY image_id LIMIT :limit
""")

_CUT = text(f"""
    SELECT image_id FROM (
        SELECT image_id, row_number() OVER (ORDER BY image_id) AS number,
            lead(image_id) OVER (ORDER BY image_id) IS NULL AS is_last
        {_OWED}
    ) AS numbered
    WHERE number % :every = 0 OR is_last
    ORDER BY number
""")  # noqa: S608 - nothing of a client's

_BEHIND = text("""
    state IN ('ready', 'active', 'standby')
    AND EXISTS (SELECT FROM pending_vectors WHERE pending_vectors.index_id = indexes.id)
""")

_NOBODY = UUID(int=0)


class SqlPendingVectors:
    """Implements `core.ports.PendingVectors`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, index_id: UUID, image_ids: Sequence[UUID]) -> None:
        """Owe these; some may be owed already."""
        self._transaction.execute(_ADD, {"index_id": index_id, "image_ids": list(image_ids)})

    def remove(self, index_id: UUID, image_ids: Sequence[UUID]) -> None:
        """These are there now, or not wanted any more."""
        self._transaction.execute(_REMOVE, {"index_id": index_id, "image_ids": list(image_ids)})

    def clear(self, index_id: UUID) -> None:
        """Nothing is owed any more."""
        self._transaction.execute(text("DELETE FROM pending_vectors WHERE index_id = :id"), {"id": index_id})

    def count(self, index_id: UUID, *, besides: UUID | None = None) -> int:
        """How many are owed, leaving out images that failed in the job `besides`."""
        asked = {"index_id": index_id, "besides": besides or _NOBODY}
        return int(self._transaction.execute(_COUNT, asked).scalar_one())

    def page(self, index_id: UUID, *, after: UUID | None, until: UUID, limit: int, besides: UUID) -> tuple[UUID, ...]:
        """The first of those with ids beyond `after` and up to `until`, by id, without those that failed."""
        asked = {"index_id": index_id, "after": after or _NOBODY, "until": until, "limit": limit, "besides": besides}
        return tuple(self._transaction.execute(_PAGE, asked).scalars())

    def cut(self, index_id: UUID, *, every: int, besides: UUID) -> tuple[UUID, ...]:
        """Cut what is owed, by id, into parts of `every`: the last id of each."""
        asked = {"index_id": index_id, "every": every, "besides": besides}
        return tuple(self._transaction.execute(_CUT, asked).scalars())

    def behind(self, *, limit: int) -> tuple[Index, ...]:
        """Finished generations that are owed something."""
        return tuple(index_of(row) for row in self._transaction.execute(select_indexes().where(_BEHIND).limit(limit)))
