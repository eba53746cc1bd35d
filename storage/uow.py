"""The unit of work: one transaction over all repositories. The only place that commits."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from sqlalchemy import Engine, text

from core.ports import (
    ApiKeys,
    BatchParts,
    Blobs,
    Candidates,
    ConceptStore,
    FeedbackStore,
    Galleries,
    IdempotencyKeys,
    Images,
    Indexes,
    JobItems,
    Jobs,
    Monitoring,
    PendingVectors,
    RemoteVersions,
    Schedules,
    UnitOfWork,
    UnitOfWorkFactory,
    Units,
    Uploads,
    VectorIndex,
    Webhooks,
    Workers,
)
from core.settings import Settings
from storage.engine import create_engine
from storage.repositories.access import SqlApiKeys, SqlIdempotencyKeys
from storage.repositories.blobs import SqlBlobs
from storage.repositories.feedback import SqlFeedback
from storage.repositories.galleries import SqlGalleries
from storage.repositories.images import SqlImages
from storage.repositories.indexes import SqlConcepts, SqlIndexes
from storage.repositories.items import SqlBatchParts, SqlCandidates, SqlJobItems
from storage.repositories.jobs import SqlJobs
from storage.repositories.monitoring import SqlMonitoring
from storage.repositories.pending import SqlPendingVectors
from storage.repositories.schedules import SqlSchedules
from storage.repositories.sources import SqlRemoteVersions, SqlUploads
from storage.repositories.units import SqlUnits
from storage.repositories.webhooks import SqlWebhooks
from storage.repositories.workers import SqlWorkers
from storage.transaction import Transaction, translated
from storage.vectors import SqlVectors


def uow_factory(engine: Engine, settings: Settings) -> UnitOfWorkFactory:
    """What makes units of work on this engine."""
    reading = engine.execution_options(isolation_level="AUTOCOMMIT")  # on the same connections

    def make(*, read_only: bool = False) -> UnitOfWork:
        return SqlUnitOfWork(reading if read_only else engine, settings)

    return make


@contextmanager
def brief_uow_factory(settings: Settings, *, application_name: str) -> Iterator[UnitOfWorkFactory]:
    """A factory for a command that ends soon; its connections are closed at the end."""
    engine = create_engine(settings, application_name=application_name)
    try:
        yield uow_factory(engine, settings)
    finally:
        engine.dispose()


class SqlUnitOfWork:
    """Implements `core.ports.UnitOfWork` on one connection of the pool, held from enter to exit."""

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

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings

    def __enter__(self) -> Self:
        """Take a connection. UnavailableError when Postgres is away or the pool stays empty."""
        with translated():
            self._connection = self._engine.connect()
        transaction = Transaction(self._connection)
        self.api_keys = SqlApiKeys(transaction)
        self.galleries = SqlGalleries(transaction)
        self.indexes = SqlIndexes(transaction)
        self.pending = SqlPendingVectors(transaction)
        self.images = SqlImages(transaction)
        self.vectors = SqlVectors(
            transaction,
            ef_search=self._settings.hnsw_ef_search,
            exact_below=self._settings.exact_search_below,
        )
        self.concepts = SqlConcepts(transaction)
        self.jobs = SqlJobs(transaction)
        self.units = SqlUnits(transaction)
        self.items = SqlJobItems(transaction)
        self.blobs = SqlBlobs(transaction)
        self.remote_versions = SqlRemoteVersions(transaction)
        self.uploads = SqlUploads(transaction)
        self.candidates = SqlCandidates(transaction)
        self.batch_parts = SqlBatchParts(transaction)
        self.workers = SqlWorkers(transaction)
        self.idempotency = SqlIdempotencyKeys(transaction)
        self.webhooks = SqlWebhooks(transaction)
        self.schedules = SqlSchedules(transaction)
        self.feedback = SqlFeedback(transaction)
        self.monitoring = SqlMonitoring(transaction)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Roll back what was not committed, and give the connection back."""
        with translated():
            self._connection.close()

    def commit(self) -> None:
        """Commit; UnavailableError when Postgres is gone."""
        with translated():
            self._connection.commit()

    def check(self) -> None:
        """Raise UnavailableError unless Postgres answers."""
        with translated():
            self._connection.execute(text("SELECT 1"))
