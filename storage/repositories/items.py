"""What jobs leave behind for each item: outcomes of imports, candidates of queries."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert

from core.models import BatchPart, Candidate, ItemOutcome, Outcome, Page
from storage.repositories.paging import number_key, page_of
from storage.tables import BatchPartRow, CandidateRow, JobItemRow
from storage.text import made_storable
from storage.transaction import Transaction

# In the order of Candidate's fields.
_CANDIDATES = (
    select(
        CandidateRow.image_id,
        CandidateRow.external_id,
        CandidateRow.coarse_rank,
        CandidateRow.coarse_score,
        CandidateRow.rank,
        CandidateRow.score,
        CandidateRow.p_yes,
        CandidateRow.error,
        CandidateRow.group_value,
        CandidateRow.group_images,
        CandidateRow.duplicates,
    )
    .where(CandidateRow.job_id == bindparam("job_id"))
    .order_by(CandidateRow.rank)
)


class SqlJobItems:
    """Implements `core.ports.JobItems`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, job_id: UUID, tenant_id: UUID, outcomes: Sequence[ItemOutcome]) -> None:
        """Append. An item may have failed because of characters that Postgres cannot hold: they become U+FFFD."""
        if not outcomes:
            return
        rows = [
            {
                "job_id": job_id,
                "tenant_id": tenant_id,
                "external_id": made_storable(outcome.external_id),
                "outcome": outcome.outcome.value,
                "source": made_storable(outcome.source),
                "code": outcome.code,
                "detail": made_storable(outcome.detail),
                "planned": outcome.planned,
            }
            for outcome in outcomes
        ]
        self._transaction.execute(insert(JobItemRow), rows)

    def page(self, job_id: UUID, *, outcome: Outcome | None, size: int, after: str | None) -> Page[ItemOutcome]:
        """In order of arrival, keyset."""
        statement = select(
            JobItemRow.id,
            JobItemRow.external_id,
            JobItemRow.outcome,
            JobItemRow.source,
            JobItemRow.code,
            JobItemRow.detail,
            JobItemRow.planned,
        ).where(JobItemRow.job_id == job_id)
        if outcome is not None:
            statement = statement.where(JobItemRow.outcome == outcome.value)
        if after is not None:
            statement = statement.where(JobItemRow.id > number_key(after))
        rows = self._transaction.execute(statement.order_by(JobItemRow.id).limit(size + 1)).all()
        page = page_of(rows, size, lambda row: str(row.id))
        items = (ItemOutcome(row.external_id, Outcome(row.outcome), *row[3:]) for row in page.items)
        return Page(items=tuple(items), next_key=page.next_key)

    def any_retryable(self, job_id: UUID) -> bool:
        """Whether an item failed that a retry can fetch again."""
        found = select(JobItemRow.id).where(
            JobItemRow.job_id == job_id,
            JobItemRow.outcome == Outcome.FAILED.value,
            JobItemRow.planned.is_not(None),
        )
        return bool(self._transaction.execute(select(found.exists())).scalar_one())


class SqlCandidates:
    """Implements `core.ports.Candidates`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def replace(self, job_id: UUID, candidates: Sequence[Candidate]) -> None:
        """Store exactly these. The caller holds the job's unit, so no two replace at once."""
        self._transaction.execute(delete(CandidateRow).where(CandidateRow.job_id == job_id))
        if candidates:
            self._transaction.execute(insert(CandidateRow), [_values(job_id, each) for each in candidates])

    def list(self, job_id: UUID) -> tuple[Candidate, ...]:
        """By final rank."""
        return tuple(Candidate(*row) for row in self._transaction.execute(_CANDIDATES, {"job_id": job_id}))


class SqlBatchParts:
    """Implements `core.ports.BatchParts`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, job_id: UUID, part: BatchPart) -> None:
        """Name a part."""
        values = {"job_id": job_id, "part_id": part.id, "first_line": part.first_line, "lines": part.lines}
        self._transaction.execute(insert(BatchPartRow), values)

    def list(self, job_id: UUID) -> tuple[BatchPart, ...]:
        """By their first lines."""
        statement = (
            select(BatchPartRow.part_id, BatchPartRow.first_line, BatchPartRow.lines)
            .where(BatchPartRow.job_id == job_id)
            .order_by(BatchPartRow.first_line, BatchPartRow.part_id)
        )
        return tuple(BatchPart(*row) for row in self._transaction.execute(statement))


def _values(job_id: UUID, candidate: Candidate) -> dict[str, object]:
    return {
        "job_id": job_id,
        "image_id": candidate.image_id,
        "external_id": candidate.external_id,
        "coarse_rank": candidate.coarse_rank,
        "coarse_score": candidate.coarse_score,
        "rank": candidate.rank,
        "score": candidate.score,
        "p_yes": candidate.p_yes,
        "error": candidate.error,
        "group_value": candidate.group,
        "group_images": candidate.group_images,
        "duplicates": candidate.duplicates,
    }
