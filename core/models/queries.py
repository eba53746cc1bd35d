"""Composed queries and their results."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Candidate:
    """A result row of a query. Ranks start at 1; `rank` is final, `p_yes` is None when the judge did not see it.

    Where the query groups: `group` is the attribute's value that the row stands for, `group_images` how many of the
    images looked at have it, `duplicates` how many were left out because they look like this one; else None.
    """

    image_id: UUID
    external_id: str
    coarse_rank: int
    coarse_score: float
    rank: int
    score: float
    p_yes: float | None = None
    error: str | None = None
    group: Any = None
    group_images: int | None = None
    duplicates: int | None = None


@dataclass(frozen=True, slots=True)
class BatchPart:
    """Answers of a query batch that lie in an object of their own: `lines` of the range that begins at `first_line`."""

    id: UUID
    first_line: int
    lines: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """Concepts of the reference that the query kept and dropped, heaviest first, with weights in 0..1."""

    kept: tuple[tuple[str, float], ...] = ()
    dropped: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class RerankOptions:
    """How far and how long the judge looks."""

    depth: int
    budget_s: float


@dataclass(frozen=True, slots=True)
class QueryParams:
    """A validated query as stored in `jobs.params`. The reference is an image of the gallery, or an object.

    That object was uploaded, or is what a worker stores of `reference_url`.
    """

    text: str | None = None
    negative_text: str | None = None
    reference_image_id: str | None = None
    reference_object_key: str | None = None
    reference_url: str | None = None
    reference_region: tuple[float, float, float, float] | None = None
    filter: dict[str, Any] = field(default_factory=dict)
    top_k: int = 20
    strategy: str = "intersection"
    rerank: RerankOptions | None = None
    explain: bool = False
    include_reference: bool = False
    min_score: float | None = None
    group_by: str | None = None
    collapse_duplicates: bool = False
