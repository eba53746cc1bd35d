"""One transaction over all repositories."""

from types import TracebackType
from typing import Protocol, Self

from core.ports.access import ApiKeys, IdempotencyKeys
from core.ports.catalog import Blobs, Galleries, Images
from core.ports.feedback import FeedbackStore
from core.ports.jobs import BatchParts, Candidates, JobItems, Jobs
from core.ports.monitoring import Monitoring
from core.ports.schedules import Schedules
from core.ports.sources import RemoteVersions, Uploads
from core.ports.units import Units, Workers
from core.ports.vectors import ConceptStore, Indexes, PendingVectors, VectorIndex
from core.ports.webhooks import Webhooks


class UnitOfWork(Protocol):
    """One transaction over all repositories: `with uow_factory() as uow: …; uow.commit()`; else it rolls back."""

    api_keys: ApiKeys
    galleries: Galleries
    indexes: Indexes
    pending: PendingVectors
    images: Images
    vectors: VectorIndex
    concepts: ConceptStore
    jobs: Jobs
    units: Units
    items: JobItems
    blobs: Blobs
    remote_versions: RemoteVersions
    uploads: Uploads
    candidates: Candidates
    batch_parts: BatchParts
    workers: Workers
    idempotency: IdempotencyKeys
    webhooks: Webhooks
    schedules: Schedules
    feedback: FeedbackStore
    monitoring: Monitoring

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Roll back what was not committed."""
        ...

    def commit(self) -> None:
        """Commit; UnavailableError when Postgres is gone."""
        ...

    def check(self) -> None:
        """Raise UnavailableError unless Postgres answers."""
        ...


class UnitOfWorkFactory(Protocol):
    """Makes units of work."""

    def __call__(self, *, read_only: bool = False) -> UnitOfWork:
        """With `read_only` each statement is its own transaction: two round trips less, but no commit and no locks."""
        ...
