"""Judgements of results."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg.errors import ForeignKeyViolation
from sqlalchemy import Row, select, text
from sqlalchemy.exc import IntegrityError

from core.errors import NotFoundError
from core.models import Feedback, Kept, Page
from core.ports import FeedbackQuery
from storage.repositories.paging import id_key, page_of
from storage.tables import FeedbackRow
from storage.transaction import Transaction

# Sorted, so that two requests about the same job lock rows in one order.
_KEEP = text("""
    INSERT INTO feedback AS stored (
        id, tenant_id, gallery_id, job_id, external_id, reference, text, relevant, judged_at)
    SELECT * FROM unnest(
        CAST(:ids AS uuid[]), CAST(:tenant_ids AS uuid[]), CAST(:gallery_ids AS uuid[]), CAST(:job_ids AS uuid[]),
        CAST(:external_ids AS text[]), CAST(:references AS text[]), CAST(:texts AS text[]),
        CAST(:relevants AS boolean[]), CAST(:moments AS timestamptz[]))
        AS judged (id, tenant_id, gallery_id, job_id, external_id, reference, text, relevant, judged_at)
    ORDER BY job_id, external_id
    ON CONFLICT (job_id, external_id) DO UPDATE SET
        id = excluded.id, relevant = excluded.relevant, judged_at = excluded.judged_at
    WHERE stored.relevant <> excluded.relevant
    RETURNING xmax = 0 AS is_new
""")


class SqlFeedback:
    """Implements `core.ports.FeedbackStore`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def keep(self, judged: Sequence[Feedback]) -> Kept:
        """Insert; a judgement of the same job and image is replaced if it says otherwise. No image comes twice.

        NotFoundError when the gallery is gone.
        """
        try:
            written = self._transaction.execute(_KEEP, _columns(judged)).scalars().all()
        except IntegrityError as error:
            if isinstance(error.orig, ForeignKeyViolation):
                raise NotFoundError("The gallery was deleted meanwhile.") from error
            raise
        stored = sum(written)
        return Kept(stored=stored, changed=len(written) - stored, unchanged=len(judged) - len(written))

    def page(self, gallery_id: UUID, query: FeedbackQuery) -> Page[Feedback]:
        """In the order in which people judged, keyset."""
        statement = select(*_COLUMNS).where(FeedbackRow.gallery_id == gallery_id)
        if query.since is not None:
            statement = statement.where(FeedbackRow.judged_at >= query.since)
        if not query.incomplete:
            statement = statement.where(FeedbackRow.reference.is_not(None), FeedbackRow.text.is_not(None))
        if query.after is not None:
            statement = statement.where(FeedbackRow.id > id_key(query.after))
        rows = self._transaction.execute(statement.order_by(FeedbackRow.id).limit(query.size + 1)).all()
        return page_of([_feedback(row) for row in rows], query.size, lambda one: str(one.id))


# In the order of Feedback's fields.
_COLUMNS = (
    FeedbackRow.id,
    FeedbackRow.tenant_id,
    FeedbackRow.gallery_id,
    FeedbackRow.job_id,
    FeedbackRow.external_id,
    FeedbackRow.reference,
    FeedbackRow.text,
    FeedbackRow.relevant,
    FeedbackRow.judged_at,
)


def _feedback(row: Row[*tuple[Any, ...]]) -> Feedback:
    return Feedback(*row)


def _columns(judged: Sequence[Feedback]) -> dict[str, Any]:
    return {
        "ids": [one.id for one in judged],
        "tenant_ids": [one.tenant_id for one in judged],
        "gallery_ids": [one.gallery_id for one in judged],
        "job_ids": [one.job_id for one in judged],
        "external_ids": [one.external_id for one in judged],
        "references": [one.reference for one in judged],
        "texts": [one.text for one in judged],
        "relevants": [one.relevant for one in judged],
        "moments": [one.judged_at for one in judged],
    }
