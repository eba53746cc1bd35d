"""Domain types shared by use cases, adapters and the API. Plain frozen data; no I/O."""

from core.models.access import Principal, Scope
from core.models.catalog import Attributes, Blob, Device, Gallery, Image, ImageDraft, ImageState, Page
from core.models.feedback import Feedback, Kept
from core.models.jobs import Counters, ItemOutcome, Job, JobKind, JobStage, JobState, Outcome, Phase, WaitingFor
from core.models.queries import BatchPart, Candidate, Explanation, QueryParams, RerankOptions
from core.models.schedules import Schedule, SkippedTick
from core.models.sources import BucketObject, RemoteVersion, Upload
from core.models.units import (
    DEFERRED,
    GIVES_WAY,
    ClaimedUnit,
    Consumers,
    NewUnit,
    Queue,
    UnitKind,
    UnitState,
    WorkerBeat,
)
from core.models.vectors import (
    LIVE_INDEX_STATES,
    Census,
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
    "DEFERRED",
    "GIVES_WAY",
    "LIVE_INDEX_STATES",
    "Attributes",
    "BatchPart",
    "Blob",
    "BucketObject",
    "Candidate",
    "Census",
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
    "Feedback",
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
    "Kept",
    "NewUnit",
    "Outcome",
    "Page",
    "Phase",
    "Principal",
    "QueryParams",
    "Queue",
    "RemoteVersion",
    "RerankOptions",
    "Schedule",
    "Scope",
    "ScoredImage",
    "SkippedTick",
    "UnitKind",
    "UnitState",
    "Upload",
    "Vector",
    "Vectors",
    "WaitingFor",
    "WorkerBeat",
]
