"""Domain types shared by use cases, adapters and the API. Plain frozen data; no I/O."""

from core.models.access import Principal, Scope
from core.models.catalog import Attributes, Blob, Device, Gallery, Image, ImageDraft, ImageState, Page
from core.models.jobs import Counters, ItemOutcome, Job, JobKind, JobStage, JobState, Outcome
from core.models.queries import Candidate, Explanation, QueryParams, RerankOptions
from core.models.units import ClaimedUnit, Consumers, NewUnit, Queue, UnitKind, UnitState, WorkerBeat
from core.models.vectors import (
    LIVE_INDEX_STATES,
    ConceptKind,
    Concepts,
    EncoderIdentity,
    Index,
    IndexState,
    ScoredImage,
    Vector,
    Vectors,
)
from core.models.webhooks import Delivery, DeliveryState

__all__ = [
    "LIVE_INDEX_STATES",
    "Attributes",
    "Blob",
    "Candidate",
    "ClaimedUnit",
    "ConceptKind",
    "Concepts",
    "Consumers",
    "Counters",
    "Delivery",
    "DeliveryState",
    "Device",
    "EncoderIdentity",
    "Explanation",
    "Gallery",
    "Image",
    "ImageDraft",
    "ImageState",
    "Index",
    "IndexState",
    "ItemOutcome",
    "Job",
    "JobKind",
    "JobStage",
    "JobState",
    "NewUnit",
    "Outcome",
    "Page",
    "Principal",
    "QueryParams",
    "Queue",
    "RerankOptions",
    "Scope",
    "ScoredImage",
    "UnitKind",
    "UnitState",
    "Vector",
    "Vectors",
    "WorkerBeat",
]
