"""Bodies of queries and their results."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from pydantic import Field

from api.schemas.common import CallbackUrl, Reply
from core.queries import NewQuery
from core.queryforms import QueryForm
from core.settings import Settings


class QueryIn(QueryForm):
    """A query: a reference, a text, or both."""

    callback_url: CallbackUrl | None = None

    def to_use_case(self, settings: Settings, *, picture: bytes | None = None) -> NewQuery:
        """What the use case takes; `picture` is the uploaded reference."""
        return replace(super().to_use_case(settings, picture=picture), callback_url=self.callback_url)


class QueryBatchResult(Reply):
    """A query batch's result, once it has ended: a file of JSON lines, in the order of the queries."""

    format: str
    lines: int
    size_bytes: int
    key: str
    url: str | None = Field(description="Short-lived, signed when read.")


class CoarseOut(Reply):
    """Where the first stage put a result."""

    rank: int
    score: float


class JudgedOut(Reply):
    """What the second stage says of a result."""

    p_yes: float = Field(description="Probability that the picture fits the query, 0..1.")


class ResultOut(Reply):
    """One result."""

    rank: int
    image_id: UUID
    external_id: str
    score: float
    coarse: CoarseOut
    rerank: JudgedOut | None = Field(description="null: the judge did not see it.")
    group: Any = Field(description="The value of `group_by` that the result stands for; null: it has none.")
    group_images: int | None = Field(description="Pictures with that value among those that were looked at.")
    duplicates: int | None = Field(description="Pictures left out as they look like this one; null: not asked for.")
    image_url: str | None = Field(description="Short-lived, signed when read.")
    thumbnail_url: str | None = Field(description="Short-lived, signed when read.")
    attributes: dict[str, Any]


class QueryResult(Reply):
    """A query's result. Until the job ends it is the provisional, coarse one."""

    reranked: bool
    provisional: bool
    reason: str | None = Field(description="Why the second stage was left out.")
    strategy: str
    index_id: str | None
    timings_ms: dict[str, float]
    results: list[ResultOut]
    explanation: dict[str, Any] | None = Field(
        description="Concepts kept and dropped: [term, weight] each; with the strategy `caption`, the description."
    )
