"""SQLAlchemy mappings of every table. `Base.metadata` is what migrations are compared with."""

from storage.tables.access import ApiKeyRow, IdempotencyKeyRow, TenantRow
from storage.tables.base import Base
from storage.tables.catalog import BlobRow, GalleryCountRow, GalleryRow, ImageRow
from storage.tables.feedback import FeedbackRow
from storage.tables.jobs import BatchPartRow, CandidateRow, JobItemRow, JobRow
from storage.tables.numbers import ImageNumberRow
from storage.tables.schedules import ScheduleRow
from storage.tables.sources import SourceRow, UploadRow
from storage.tables.units import UnitRow, WorkerRow
from storage.tables.vectors import ConceptRow, IndexRow, PendingVectorRow
from storage.tables.webhooks import DeliveryRow

__all__ = [
    "ApiKeyRow",
    "Base",
    "BatchPartRow",
    "BlobRow",
    "CandidateRow",
    "ConceptRow",
    "DeliveryRow",
    "FeedbackRow",
    "GalleryCountRow",
    "GalleryRow",
    "IdempotencyKeyRow",
    "ImageNumberRow",
    "ImageRow",
    "IndexRow",
    "JobItemRow",
    "JobRow",
    "PendingVectorRow",
    "ScheduleRow",
    "SourceRow",
    "TenantRow",
    "UnitRow",
    "UploadRow",
    "WorkerRow",
]
