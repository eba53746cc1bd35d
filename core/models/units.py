"""Units of work, queues and workers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class Queue(StrEnum):
    """The queues; `docs` and `deploy/` use the same names."""

    INGEST = "ingest"
    EMBED = "embed"
    EMBED_GPU = "embed.gpu"
    QUERY = "query"
    RERANK = "rerank"
    MAINTENANCE = "maintenance"
    RECONCILE = "reconcile"


class UnitKind(StrEnum):
    """What a unit does; each kind has one handler."""

    PLAN = "plan"
    FETCH = "fetch"
    EMBED = "embed"
    REEMBED = "reembed"
    REINDEX = "reindex"
    VERIFY = "verify"
    REFERENCE = "reference"
    SEARCH = "search"
    RERANK = "rerank"
    BATCH_SEARCH = "batch_search"
    BATCH_RERANK = "batch_rerank"
    BATCH_RESULT = "batch_result"
    DELETE_GALLERY = "delete_gallery"
    SWEEP = "sweep"
    EXPORT = "export"


GIVES_WAY = frozenset({UnitKind.BATCH_SEARCH, UnitKind.BATCH_RERANK})
"""Kinds that nobody waits for at a screen: units of another kind in the same queue go first."""


class UnitState(StrEnum):
    """State of a unit of work."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"


DEFERRED = datetime(9999, 1, 1, tzinfo=UTC)
"""`not_before` of a unit that waits until no other unit of its job is open; then such units run one after another."""


@dataclass(frozen=True, slots=True)
class NewUnit:
    """A unit about to be stored. `size` is the number of items that its cursor walks over."""

    id: UUID
    tenant_id: UUID
    job_id: UUID
    kind: UnitKind
    queue: Queue
    size: int
    payload: dict[str, Any]
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class ClaimedUnit:
    """A unit that this worker holds under `lease_token`. `attempts` counts deaths since its last progress."""

    id: UUID
    tenant_id: UUID
    job_id: UUID
    kind: UnitKind
    queue: Queue
    size: int
    payload: Mapping[str, Any]
    cursor: int
    attempts: int
    batch_limit: int | None
    lease_token: UUID


@dataclass(frozen=True, slots=True)
class WorkerBeat:
    """A worker's sign of life, written from its consuming loop."""

    name: str
    queues: tuple[Queue, ...]
    device: str
    pid: int
    host: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """Open units of a queue. `deferred` are pending, but not due yet; `oldest_due_s` is 0 where none is due."""

    due: int = 0
    deferred: int = 0
    running: int = 0
    due_since: datetime | None = None
    oldest_due_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Consumers:
    """Live workers of a queue, and since when there have been none."""

    queue: Queue
    count: int
    last_seen_at: datetime | None
