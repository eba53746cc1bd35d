"""Galleries, images and blobs in SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from core.filters import Filter
from core.models import Attributes, Blob, Gallery, Image, ImageDraft, Index, Outcome, Page


class Galleries(Protocol):
    """Galleries of tenants. Reading another tenant's row is the same as reading none."""

    def add(self, gallery: Gallery) -> None:
        """Insert. ConflictError when the tenant already has that name."""
        ...

    def get(self, tenant_id: UUID, name: str, *, lock: bool = False) -> Gallery | None:
        """The gallery, unless missing or being deleted; with `lock`, its row locked until the transaction ends."""
        ...

    def by_id(self, gallery_id: UUID) -> Gallery | None:
        """The gallery, also while it is being deleted."""
        ...

    def page(self, tenant_id: UUID, *, size: int, after: str | None) -> Page[Gallery]:
        """By name, keyset."""
        ...

    def images_of(self, tenant_id: UUID) -> int:
        """Images in all galleries of the tenant, but for those that are being deleted."""
        ...

    def update(self, gallery: Gallery) -> None:
        """Write name, encoder, device, attributes_schema, active_index_id, deleting; bumps `version`."""
        ...

    def set_active(self, gallery_id: UUID, index: Index) -> None:
        """Let that generation answer from now on; nothing else is written but `version`. NotFoundError without it."""
        ...

    def forsaken(self, *, before: datetime, limit: int) -> tuple[Gallery, ...]:
        """Galleries that are being deleted, but by no job: none is open, and none ended after `before`."""
        ...

    def remove(self, gallery_id: UUID) -> None:
        """Delete the row with its images, indexes and concepts (vector tables are dropped by the caller)."""
        ...


@dataclass(frozen=True, slots=True)
class StoredImage:
    """What ingest compares an incoming row with."""

    id: UUID
    sha256: str
    attributes: Attributes
    last_job_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class Written:
    """Result of an upsert: the row's id and whether it was created or updated."""

    image_id: UUID
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """What images look like (core/looks.py), the oldest first: ids, pHashes int64 [n] and tints int64 [n].

    A picture without looks has a number made of its content instead, so that only the same content is near.
    """

    ids: tuple[UUID, ...]
    phashes: NDArray[np.int64]
    tints: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Traits:
    """What may make an image one result with others: an attribute's value (any JSON; None for none), and its looks."""

    value: Any
    phash: int
    tint: int


class Images(Protocol):
    """Image rows. Writers pass rows in `external_id` order, so that concurrent batches cannot deadlock."""

    def get(self, gallery_id: UUID, image_id: UUID, *, lock: bool = False) -> Image | None:
        """One image; with `lock`, its row locked until the transaction ends."""
        ...

    def find(self, gallery_id: UUID, external_id: str) -> Image | None:
        """One image by the shop's own id."""
        ...

    def lock_contents(self, gallery_id: UUID, image_ids: Sequence[UUID]) -> dict[UUID, str]:
        """sha256 of those of the images that exist; nobody changes or deletes them until the transaction ends."""
        ...

    def many(self, image_ids: Sequence[UUID]) -> dict[UUID, Image]:
        """Those of the ids that exist."""
        ...

    def current(self, gallery_id: UUID, external_ids: Sequence[str]) -> dict[str, StoredImage]:
        """What is stored now under these external ids."""
        ...

    def upsert(self, gallery: Gallery, drafts: Sequence[ImageDraft], *, job_id: UUID) -> dict[str, Written]:
        """Insert or update rows, keyed by external_id; those whose last writer is a newer job stay, and are missing."""
        ...

    def set_attributes(
        self, gallery_id: UUID, attributes: Mapping[str, Attributes], *, job_id: UUID
    ) -> dict[str, Outcome]:
        """Replace attributes by external_id, nothing else: `updated`; `unchanged` when gone or a newer job wrote."""
        ...

    def claim(self, gallery_id: UUID, versions: Mapping[str, int], *, job_id: UUID) -> frozenset[str]:
        """Make a job the last writer of images, by external_id, that still have these versions; returns whose it is.

        Not among them: images that are gone, were changed meanwhile, or whose last writer is a newer job.
        """
        ...

    def patch_attributes(self, image_id: UUID, attributes: Attributes) -> Image:
        """Replace one image's attributes (API edit); bumps `version`. NotFoundError when gone."""
        ...

    def page(
        self, gallery_id: UUID, *, size: int, after: str | None, where: Filter | None, external_id: str | None
    ) -> Page[Image]:
        """By id, keyset, optionally filtered."""
        ...

    def remove(self, gallery_id: UUID, image_ids: Sequence[UUID]) -> int:
        """Delete rows (their vectors are deleted through `VectorIndex.remove` by the caller)."""
        ...

    def remove_older(self, gallery_id: UUID, external_ids: Sequence[str], *, job_id: UUID) -> dict[str, UUID]:
        """Delete rows whose last writer is no newer job than this one; ids of the deleted ones by external_id."""
        ...

    def count_written_before(self, gallery_id: UUID, job_id: UUID, *, external_ids: Sequence[str] | None = None) -> int:
        """Images (of these external ids) whose last writer is an older job."""
        ...

    def count_unnamed(self, gallery_id: UUID, job_id: UUID) -> int:
        """Images whose last writer is an older job and which no item of the job names."""
        ...

    def unnamed(self, gallery_id: UUID, job_id: UUID, *, after: str, limit: int) -> tuple[str, ...]:
        """External ids of the same, in their order, those that follow `after`."""
        ...

    def count(self, gallery_id: UUID) -> int:
        """Rows of a gallery."""
        ...

    def boundaries(self, gallery_id: UUID, *, every: int) -> tuple[tuple[UUID, int], ...]:
        """Cut the images, by id, into parts of `every`: the last id of each part and how many images it has."""
        ...

    def fingerprints(self, gallery_id: UUID) -> Fingerprints:
        """What all images of a gallery look like, by id."""
        ...

    def traits(self, image_ids: Sequence[UUID], attribute: str | None) -> dict[UUID, Traits]:
        """Of those that exist: the attribute's value (None without an attribute), and looks as in `fingerprints`."""
        ...

    def terms(self, gallery_id: UUID, *, max_words: int, max_values: int, newest: int) -> dict[str, tuple[str, ...]]:
        """Distinct string values per attribute, at most `max_words` words each and the `max_values` most frequent.

        Of the `newest` images only, so that the time is bounded.
        """
        ...


@dataclass(frozen=True, slots=True)
class BlobRef:
    """Names a blob."""

    tenant_id: UUID
    sha256: str


class Blobs(Protocol):
    """Which pictures the bucket holds. docs/adr/0018 says how an import and the collector keep out of each other's way.

    Nobody refers to a blob: no image has it, and no import is open that may have found it.
    """

    def touch(self, tenant_id: UUID, sha256s: Sequence[str]) -> dict[str, Blob]:
        """Lock and touch those that are there, so that no GC takes them; returns them.

        Condemned ones are touched too, but count as absent: they have to be stored and added again.
        """
        ...

    def add(self, tenant_id: UUID, blobs: Sequence[Blob]) -> None:
        """Insert or touch, in sha256 order; their objects were stored before."""
        ...

    def condemn(self, *, before: datetime, after: BlobRef, limit: int) -> BlobRef | None:
        """Of the `limit` blobs that follow `after`, condemn those untouched since `before` that nobody refers to.

        Returns the last one looked at; None past the end.
        """
        ...

    def lock_condemned(self, *, before: datetime, limit: int) -> tuple[BlobRef, ...]:
        """Lock condemned blobs untouched since `before`: whoever wants one waits for this transaction."""
        ...

    def adopt(self, tenant_id: UUID, sha256s: Sequence[str]) -> int:
        """Condemned rows, touched now, for those that have none; returns how many."""
        ...

    def remove(self, blobs: Sequence[BlobRef]) -> None:
        """Delete rows whose objects are gone."""
        ...
