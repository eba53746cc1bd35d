"""Generations of vectors, and their vocabularies."""

from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import ColumnElement, Row, Select, TextClause, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from core.errors import NotFoundError
from core.models import (
    LIVE_INDEX_STATES,
    ConceptKind,
    Concepts,
    EncoderIdentity,
    Index,
    IndexState,
    Vector,
    Vectors,
)
from storage.tables import ConceptRow, IndexRow
from storage.transaction import Transaction
from storage.vector_tables import SCHEMA

_STORED = np.dtype("<f4")

_ADD_CONCEPTS = text("""
    INSERT INTO concepts (index_id, position, term, kind, vector)
    SELECT :index_id, position, term, kind, vector
    FROM unnest(CAST(:terms AS text[]), CAST(:kinds AS text[]), CAST(:vectors AS bytea[])) WITH ORDINALITY
        AS concept (term, kind, vector, position)
""")


_HOLD = text("SELECT pg_advisory_xact_lock_shared(hashtextextended('generations ' || :gallery_id, 0))")
_HOLD_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('generations ' || :gallery_id, 0))")

_OUTLIVED = text("""
    (state = 'standby' OR state = 'building' AND NOT EXISTS (
        SELECT FROM jobs
        WHERE jobs.tenant_id = indexes.tenant_id AND jobs.kind = 'reindex' AND jobs.gallery_id = indexes.gallery_id
            AND (finished_at IS NULL OR finished_at > :before)))
""")

# Whoever read it began before it was dropped; those who begin later read another. Jobs are dated by another machine's
# clock, which may be ahead.
_UNREAD = text(f"""
    SELECT id FROM indexes
    WHERE state = 'dropped' AND to_regclass('{SCHEMA}.g_' || replace(CAST(id AS text), '-', '')) IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM jobs
            WHERE jobs.gallery_id = indexes.gallery_id AND finished_at IS NULL
                AND jobs.kind IN ('query', 'query_batch', 'export')
                AND jobs.created_at <= indexes.changed_at + interval '1 minute')
    ORDER BY id LIMIT :limit
""")  # noqa: S608 - nothing of a client's


class SqlIndexes:
    """Implements `core.ports.Indexes`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, index: Index) -> None:
        """Insert."""
        values: dict[str, Any] = {
            "id": index.id,
            "tenant_id": index.tenant_id,
            "gallery_id": index.gallery_id,
            "encoder": index.encoder,
            "state": index.state.value,
            "mean": None if index.mean is None else _to_bytes(index.mean),
            "mean_count": index.mean_count,
            "created_at": func.now() if index.created_at is None else index.created_at,
        }
        if index.in_step:
            values["in_step"] = True
        if index.identity is not None:
            values |= _identity_values(index.identity)
        self._transaction.execute(insert(IndexRow).values(values))

    def get(self, index_id: UUID) -> Index | None:
        """One generation."""
        row = self._transaction.execute(select_indexes().where(IndexRow.id == index_id)).one_or_none()
        return None if row is None else index_of(row)

    def live(self, gallery_id: UUID) -> tuple[Index, ...]:
        """Every generation of the gallery that is not dropped, oldest first."""
        return self._all(IndexRow.gallery_id == gallery_id, IndexRow.state.in_(sorted(LIVE_INDEX_STATES)))

    def every(self, gallery_id: UUID) -> tuple[Index, ...]:
        """The dropped ones too."""
        return self._all(IndexRow.gallery_id == gallery_id)

    def hold(self, gallery_id: UUID, *, alone: bool = False) -> None:
        """Keep the states of the gallery's generations as they are until this transaction ends.

        An advisory lock: those who wait for it get it in the order in which they came, so that a switch comes to its
        turn however many imports there are. Row locks that are shared do not promise that.
        """
        self._transaction.execute(_HOLD_ALONE if alone else _HOLD, {"gallery_id": str(gallery_id)})

    def set_identity(self, index_id: UUID, identity: EncoderIdentity) -> EncoderIdentity:
        """Set the identity if it is still unset; returns the one that holds. NotFoundError when the row is gone."""
        unset = update(IndexRow).where(IndexRow.id == index_id, IndexRow.spec.is_(None))
        self._transaction.execute(unset.values(_identity_values(identity)))
        index = self.get(index_id)
        if index is None or index.identity is None:
            raise NotFoundError("The index was deleted meanwhile.")
        return index.identity

    def set_mean(self, index_id: UUID, mean: Vector, count: int) -> None:
        """Store the mean vector and how many vectors it was computed from."""
        self._update(index_id, mean=_to_bytes(mean), mean_count=count)

    def set_state(self, index_id: UUID, state: IndexState) -> None:
        """Write the state, and since when it is so."""
        # Not now(), the moment when the transaction began: it may have waited for its turn since.
        self._update(index_id, state=state.value, changed_at=func.clock_timestamp())

    def touch(self, index_id: UUID) -> None:
        """Somebody wants it again: it is as if its state began now."""
        self._update(index_id, changed_at=func.clock_timestamp())

    def set_in_step(self, index_id: UUID) -> None:
        """From now on imports write its vectors themselves."""
        self._update(index_id, in_step=True)

    def outlived(self, *, before: datetime, limit: int) -> tuple[Index, ...]:
        """Generations that stand by since before that moment, and half-made ones of then that no job works on."""
        return self._all(IndexRow.changed_at < before, _OUTLIVED.bindparams(before=before), limit=limit)

    def unread(self, *, limit: int) -> tuple[UUID, ...]:
        """Dropped generations whose vectors are still there, and whose last readers have ended."""
        return tuple(self._transaction.execute(_UNREAD, {"limit": limit}).scalars())

    def _all(self, *conditions: ColumnElement[bool] | TextClause, limit: int | None = None) -> tuple[Index, ...]:
        statement = select_indexes().where(*conditions).order_by(IndexRow.id).limit(limit)
        return tuple(index_of(row) for row in self._transaction.execute(statement))

    def _update(self, index_id: UUID, **values: object) -> None:
        self._transaction.execute(update(IndexRow).where(IndexRow.id == index_id).values(values))


class SqlConcepts:
    """Implements `core.ports.ConceptStore`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def replace(self, index_id: UUID, concepts: Concepts) -> None:
        """Store exactly these concepts. Two that replace the same generation's take turns."""
        self._transaction.execute(select(IndexRow.id).where(IndexRow.id == index_id).with_for_update(key_share=True))
        self._transaction.execute(delete(ConceptRow).where(ConceptRow.index_id == index_id))
        columns = {
            "terms": list(concepts.terms),
            "kinds": [kind.value for kind in concepts.kinds],
            "vectors": [_to_bytes(vector) for vector in concepts.vectors],
        }
        self._transaction.execute(_ADD_CONCEPTS, {"index_id": index_id, **columns})

    def clear(self, index_id: UUID) -> None:
        """Forget them."""
        self._transaction.execute(delete(ConceptRow).where(ConceptRow.index_id == index_id))

    def load(self, index_id: UUID) -> Concepts | None:
        """The stored concepts, or None."""
        statement = (
            select(ConceptRow.term, ConceptRow.kind, ConceptRow.vector)
            .where(ConceptRow.index_id == index_id)
            .order_by(ConceptRow.position)
        )
        rows = self._transaction.execute(statement).all()
        if not rows:
            return None
        return Concepts(
            terms=tuple(row.term for row in rows),
            kinds=tuple(ConceptKind(row.kind) for row in rows),
            vectors=_from_bytes(b"".join(row.vector for row in rows)).reshape(len(rows), -1),
        )


_COLUMNS = (
    IndexRow.id,
    IndexRow.tenant_id,
    IndexRow.gallery_id,
    IndexRow.encoder,
    IndexRow.state,
    IndexRow.spec,
    IndexRow.architecture,
    IndexRow.weights_sha256,
    IndexRow.dim,
    IndexRow.preprocessing,
    IndexRow.mean,
    IndexRow.mean_count,
    IndexRow.created_at,
    IndexRow.in_step,
    IndexRow.changed_at,
)


def select_indexes() -> Select[*tuple[Any, ...]]:
    """Rows for `index_of`."""
    return select(*_COLUMNS)


def index_of(row: Row[*tuple[Any, ...]]) -> Index:
    """A generation from its row."""
    known = row.spec is not None
    return Index(
        id=row.id,
        tenant_id=row.tenant_id,
        gallery_id=row.gallery_id,
        encoder=row.encoder,
        state=IndexState(row.state),
        identity=_identity(row) if known else None,
        mean=None if row.mean is None else _from_bytes(row.mean),
        mean_count=row.mean_count,
        created_at=row.created_at,
        in_step=row.in_step,
        changed_at=row.changed_at,
    )


def _identity(row: Row[*tuple[Any, ...]]) -> EncoderIdentity:
    return EncoderIdentity(
        spec=row.spec,
        architecture=row.architecture,
        weights_sha256=row.weights_sha256,
        dim=row.dim,
        preprocessing=row.preprocessing,
    )


def _identity_values(identity: EncoderIdentity) -> dict[str, str | int]:
    return {
        "spec": identity.spec,
        "architecture": identity.architecture,
        "weights_sha256": identity.weights_sha256,
        "dim": identity.dim,
        "preprocessing": identity.preprocessing,
    }


def _to_bytes(vector: Vector) -> bytes:
    return vector.astype(_STORED).tobytes()


def _from_bytes(stored: bytes) -> Vectors:
    return np.frombuffer(stored, _STORED).astype(np.float32)
