"""What people say of the results of queries."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Feedback:
    """A judgement: does the image `external_id` answer what the query asked? It outlives the query.

    `reference` is the external id of the gallery's image that was searched with; None when there was none, or only a
    part of it counted. A changed judgement gets a new `id`, so that ids sort by when people judged.
    """

    id: UUID
    tenant_id: UUID
    gallery_id: UUID
    job_id: UUID
    external_id: str
    reference: str | None
    text: str | None
    relevant: bool
    judged_at: datetime

    @property
    def is_triplet(self) -> bool:
        """Whether training can use it."""
        return self.reference is not None and self.text is not None


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of judgements: new ones, those that replace another one, and those that were known."""

    stored: int
    changed: int
    unchanged: int
