"""Jobs, their items and candidates in SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from core.models import (
    BatchPart,
    Candidate,
    ItemOutcome,
    Job,
    JobKind,
    JobStage,
    JobState,
    Outcome,
    Page,
    Phase,
    WaitingFor,
)


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Filters of a job listing."""

    state: JobState | None = None
    kind: JobKind | None = None
    gallery_name: str | None = None
    created_after: datetime | None = None


class Jobs(Protocol):
    """Jobs. Every write bumps `version`, which is the ETag and what long-polls wait for."""

    def add(self, job: Job) -> None:
        """Insert."""
        ...

    def add_scheduled(self, job: Job, tick: datetime) -> bool:
        """Insert as the one job of its gallery's tick; False, and nothing is written, when there is one already."""
        ...

    def open_scheduled(self, gallery_id: UUID) -> UUID | None:
        """The job of an earlier tick of the gallery that has not ended."""
        ...

    def get(self, tenant_id: UUID, job_id: UUID) -> Job | None:
        """The tenant's job."""
        ...

    def phases(self, job_ids: Sequence[UUID]) -> Mapping[UUID, Phase]:
        """State and stage of each job, of any tenant; without those that do not exist."""
        ...

    def watched(
        self, tenant_id: UUID, job_id: UUID, *, alive_within: timedelta
    ) -> tuple[Job, WaitingFor | None] | None:
        """The tenant's job, and what it waits for when none of its units runs: the oldest due, or else the next."""
        ...

    def lock(self, job_id: UUID) -> Job | None:
        """The job, its row locked until the transaction ends."""
        ...

    def page(self, tenant_id: UUID, query: JobQuery, *, size: int, after: str | None) -> Page[Job]:
        """Newest first, keyset."""
        ...

    def start(self, job_id: UUID) -> None:
        """Queued -> running with `started_at`; no effect in any other state."""
        ...

    def count(self, job_id: UUID, counts: Mapping[Outcome, int]) -> None:
        """Add outcomes to the counters."""
        ...

    def set_total(self, job_id: UUID, total: int) -> None:
        """Set once, when planning ends."""
        ...

    def grow_total(self, job_id: UUID, *, by: int) -> None:
        """Add items that were not known of when planning ended."""
        ...

    def set_stage(self, job_id: UUID, stage: JobStage) -> None:
        """Write the stage if it differs."""
        ...

    def set_result(self, job_id: UUID, result: dict[str, Any], *, warnings: Sequence[str] = ()) -> None:
        """Replace the result, and append warnings."""
        ...

    def set_deadline(self, job_id: UUID, deadline_at: datetime | None) -> None:
        """When the reconciler must end the job with what it has."""
        ...

    def set_state(self, job_id: UUID, state: JobState, *, error: dict[str, Any] | None = None) -> None:
        """Write a state that `core.jobs` allowed.

        A terminal one sets `finished_at`, counts what is left as canceled, moves `expires_at` so that the job is kept
        for its whole time from now on, and files the delivery of its webhook, if it has one.
        """
        ...

    def overdue(self, now: datetime, *, limit: int) -> tuple[UUID, ...]:
        """Running jobs whose deadline has passed."""
        ...

    def expired(self, now: datetime, *, limit: int) -> tuple[Job, ...]:
        """Terminal jobs past `expires_at`."""
        ...

    def cancelling(self, *, limit: int) -> tuple[UUID, ...]:
        """Jobs in state `cancelling`."""
        ...

    def unanswered(self, now: datetime, *, limit: int) -> tuple[Job, ...]:
        """Queries past `expires_at` that have not ended."""
        ...

    def keeping_files(self, job_ids: Sequence[UUID], *, queries_since: datetime) -> frozenset[UUID]:
        """Those of the ids that exist, but of queries only those made since that moment."""
        ...

    def strip(self, job_id: UUID, *, limit: int) -> int:
        """Delete up to `limit` of a finished job's items and units; returns how many. For jobs too large to remove."""
        ...

    def remove(self, job_ids: Sequence[UUID]) -> None:
        """Delete jobs with their units, items and candidates."""
        ...

    def has_open_import_before(self, gallery_id: UUID, rank: UUID, *, besides: UUID) -> bool:
        """Whether an import of the gallery of a lower rank (`core.jobs.rank`) has not ended."""
        ...

    def has_mirror_after(self, gallery_id: UUID, rank: UUID) -> bool:
        """Whether a mirror import of the gallery of a higher rank runs, or went through."""
        ...

    def open_reindex(self, gallery_id: UUID) -> Job | None:
        """The re-index of the gallery that has not ended."""
        ...

    def open_retry_of(self, job_id: UUID) -> UUID | None:
        """The retry of a job that has not ended."""
        ...

    def keep_until(self, job_id: UUID, moment: datetime) -> None:
        """Put off the job's expiry, with that of its uploads, if it is earlier."""
        ...

    def active_ids(self, gallery_id: UUID) -> tuple[UUID, ...]:
        """Jobs of the gallery that are not terminal."""
        ...


class JobItems(Protocol):
    """Outcomes that are not plain success."""

    def add(self, job_id: UUID, tenant_id: UUID, outcomes: Sequence[ItemOutcome]) -> None:
        """Append."""
        ...

    def page(self, job_id: UUID, *, outcome: Outcome | None, size: int, after: str | None) -> Page[ItemOutcome]:
        """In order of arrival, keyset."""
        ...

    def any_retryable(self, job_id: UUID) -> bool:
        """Whether an item failed that a retry can fetch again."""
        ...


class BatchParts(Protocol):
    """Which objects hold the answers of query batches. Named in the transaction that counts them, so none counts twice.

    A part that a worker stored, but did not live to name, is none.
    """

    def add(self, job_id: UUID, part: BatchPart) -> None:
        """Name a part."""
        ...

    def list(self, job_id: UUID) -> tuple[BatchPart, ...]:
        """By their first lines."""
        ...


class Candidates(Protocol):
    """Ranked candidates of queries."""

    def replace(self, job_id: UUID, candidates: Sequence[Candidate]) -> None:
        """Store exactly these."""
        ...

    def list(self, job_id: UUID) -> tuple[Candidate, ...]:
        """By final rank."""
        ...
