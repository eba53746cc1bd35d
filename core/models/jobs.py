"""Jobs and the outcomes of their items."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from core.models.units import Queue


class JobKind(StrEnum):
    """What a job does."""

    IMPORT = "import"
    DELETE = "delete"
    REINDEX = "reindex"
    QUERY = "query"
    QUERY_BATCH = "query_batch"
    EXPORT = "export"
    TRAIN = "train"


class JobState(StrEnum):
    """State of a job; `core/jobs.py` holds the transitions."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partially_succeeded"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELED = "canceled"


class JobStage(StrEnum):
    """What a running job is busy with."""

    PLANNING = "planning"
    FETCHING = "fetching"
    EMBEDDING = "embedding"
    INDEXING = "indexing"
    SEARCHING = "searching"
    RERANKING = "reranking"
    FINISHING = "finishing"


Phase = tuple[JobState, JobStage]
"""What a long-poll waits for a change of."""


class Outcome(StrEnum):
    """How one item ended."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    DELETED = "deleted"
    FAILED = "failed"
    CANCELED = "canceled"


class ListedOutcome(StrEnum):
    """The outcomes that may need a reason; items that ended otherwise are counted, and not listed one by one."""

    UNCHANGED = Outcome.UNCHANGED.value
    FAILED = Outcome.FAILED.value


@dataclass(frozen=True, slots=True)
class Counters:
    """Progress of a job. `total` is None until planning ends; then the sum always adds up."""

    total: int | None = None
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    failed: int = 0
    canceled: int = 0

    @property
    def done(self) -> int:
        """Items with an outcome."""
        return self.created + self.updated + self.unchanged + self.deleted + self.failed + self.canceled

    @property
    def pending(self) -> int:
        """Items without an outcome; 0 while the total is unknown."""
        return 0 if self.total is None else self.total - self.done


@dataclass(frozen=True, slots=True)
class Job:
    """The truth about a piece of asynchronous work."""

    id: UUID
    tenant_id: UUID
    kind: JobKind
    state: JobState
    stage: JobStage
    gallery_id: UUID | None
    gallery_name: str | None
    params: dict[str, Any]
    counters: Counters
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    warnings: tuple[str, ...]
    version: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime
    deadline_at: datetime | None = None
    callback_url: str | None = None

    @property
    def phase(self) -> Phase:
        """Its state and stage."""
        return self.state, self.stage


@dataclass(frozen=True, slots=True)
class WaitingFor:
    """Why nothing moves: the queue, how many workers take from it, and since when the job waits for one of them.

    Or, when all that is left was put off, until when: one of the two is None.
    """

    queue: Queue
    consumers: int
    since: datetime | None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """How one item ended, with the reason when it failed. `source` is a file, line or URL.

    `planned` is what a retry of a failed item needs (a planned item as JSON); None when a retry could only fail again.
    """

    external_id: str
    outcome: Outcome
    source: str = ""
    code: str = ""
    detail: str = ""
    planned: dict[str, Any] | None = None
