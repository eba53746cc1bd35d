"""What the use cases need from the outside. Each Protocol's docstrings are its contract.

Adapters translate every driver error into `core.errors`; an unreachable service raises `UnavailableError`.
"""

from core.ports.access import ApiKeys, IdempotencyKeys, SavedResponse
from core.ports.catalog import BlobRef, Blobs, Fingerprints, Galleries, Images, StoredImage, Traits, Written
from core.ports.feedback import FeedbackQuery, FeedbackStore
from core.ports.jobs import BatchParts, Candidates, JobItems, JobQuery, Jobs
from core.ports.method import (
    Captioner,
    Composer,
    Composition,
    CompositionInput,
    Encoder,
    EncoderRegistry,
    Judge,
    JudgeIdentity,
    Phrases,
    RelativeText,
)
from core.ports.monitoring import Monitoring
from core.ports.schedules import Schedules
from core.ports.services import Clock, Doorbell, ObjectStore
from core.ports.sources import RemoteVersions, SourceBuckets, Uploads
from core.ports.units import Units, Workers
from core.ports.uow import UnitOfWork, UnitOfWorkFactory
from core.ports.vectors import ConceptStore, Indexes, PendingVectors, VectorBuilder, VectorIndex
from core.ports.web import Fetch, Fetched, Fetcher, NotModified, Reply, Validators
from core.ports.webhooks import Webhooks

__all__ = [
    "ApiKeys",
    "BatchParts",
    "BlobRef",
    "Blobs",
    "Candidates",
    "Captioner",
    "Clock",
    "Composer",
    "Composition",
    "CompositionInput",
    "ConceptStore",
    "Doorbell",
    "Encoder",
    "EncoderRegistry",
    "FeedbackQuery",
    "FeedbackStore",
    "Fetch",
    "Fetched",
    "Fetcher",
    "Fingerprints",
    "Galleries",
    "IdempotencyKeys",
    "Images",
    "Indexes",
    "JobItems",
    "JobQuery",
    "Jobs",
    "Judge",
    "JudgeIdentity",
    "Monitoring",
    "NotModified",
    "ObjectStore",
    "PendingVectors",
    "Phrases",
    "RelativeText",
    "RemoteVersions",
    "Reply",
    "SavedResponse",
    "Schedules",
    "SourceBuckets",
    "StoredImage",
    "Traits",
    "UnitOfWork",
    "UnitOfWorkFactory",
    "Units",
    "Uploads",
    "Validators",
    "VectorBuilder",
    "VectorIndex",
    "Webhooks",
    "Workers",
    "Written",
]
