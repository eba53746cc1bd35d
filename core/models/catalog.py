"""Galleries and their images."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import UUID

T = TypeVar("T")


Attributes: TypeAlias = dict[str, Any]


class Device(StrEnum):
    """Where a gallery wants its embeddings computed."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True, slots=True)
class Gallery:
    """A named collection of images of one tenant."""

    id: UUID
    tenant_id: UUID
    name: str
    encoder: str
    device: Device
    attributes_schema: dict[str, str]
    active_index_id: UUID | None
    version: int
    image_count: int
    created_at: datetime
    updated_at: datetime
    deleting: bool = False


class ImageState(StrEnum):
    """State of an image row. Rows appear only together with their vector, so `ready` is all there is for now."""

    READY = "ready"


@dataclass(frozen=True, slots=True)
class Blob:
    """A validated picture in the object store, addressed by content.

    `phash` and `tint` say what it looks like (core/duplicates.py); None where that was not computed or not asked for.
    """

    sha256: str
    size_bytes: int
    width: int
    height: int
    media_type: str
    phash: int | None = field(default=None, compare=False)
    tint: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Image:
    """One gallery image. `last_job_id` is its last writer: an older job never overwrites it."""

    id: UUID
    tenant_id: UUID
    gallery_id: UUID
    external_id: str
    blob: Blob
    attributes: Attributes
    state: ImageState
    last_job_id: UUID
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ImageDraft:
    """What an embedding unit writes once the vector is there."""

    external_id: str
    blob: Blob
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a keyset listing; `next_key` is None at the end."""

    items: tuple[T, ...]
    next_key: str | None
