"""Judgements of results in SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from core.models import Feedback, Kept, Page


@dataclass(frozen=True, slots=True)
class FeedbackQuery:
    """Which judgements to list: those since a moment, and only what triplets can be made of unless `incomplete`."""

    size: int
    after: str | None = None
    since: datetime | None = None
    incomplete: bool = False


class FeedbackStore(Protocol):
    """One judgement a job and image. They stay when their job goes, and go with their gallery."""

    def keep(self, judged: Sequence[Feedback]) -> Kept:
        """Insert; a judgement of the same job and image is replaced if it says otherwise. No image comes twice.

        NotFoundError when the gallery is gone.
        """
        ...

    def page(self, gallery_id: UUID, query: FeedbackQuery) -> Page[Feedback]:
        """In the order in which people judged, keyset."""
        ...
