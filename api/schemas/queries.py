"""Bodies of queries and their results."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from api.schemas.common import Body, CallbackUrl, ExternalId, Finite, JsonObject, Reply, Text, Url
from core.models import RerankOptions
from core.queries import MAX_TOP_K, NewQuery, RankedImage, Reference
from core.settings import Settings

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Region = tuple[Share, Share, Share, Share]
Strategy = Literal["text", "image", "sum", "slerp", "product", "intersection", "soft", "caption"]


class ReferenceIn(Body):
    """The reference picture: an image of the gallery by either id, or a URL. Uploads come as `reference_image`."""

    external_id: ExternalId | None = Field(None, examples=["sku-1"])
    image_id: UUID | None = None
    url: Url | None = Field(
        None,
        description="Fetched by a worker, from public addresses only.",
        examples=["https://cdn.shop.example/1.jpg"],
    )
    region: Region | None = Field(
        None, description="[x, y, width, height], relative to the picture: search for this part of it."
    )

    @model_validator(mode="after")
    def _at_most_one_picture(self) -> Self:
        if self.named > 1:
            raise ValueError("send one of `external_id`, `image_id` and `url`")
        return self

    @property
    def named(self) -> int:
        """How many pictures this names; only a region, for an uploaded one, is none."""
        return sum(name is not None for name in (self.external_id, self.image_id, self.url))


class RerankIn(Body):
    """How far and how long the judge looks."""

    depth: int | None = Field(None, ge=1, le=200, description="Candidates that the judge sees.")
    budget_seconds: Finite | None = Field(None, gt=0, le=600, description="After this the coarse order stands.")


class QueryIn(Body):
    """A query: a reference, a text, or both."""

    reference: ReferenceIn | None = None
    text: Text | None = Field(None, description="What should differ, or what to find.", examples=["in red"])
    negative_text: Text | None = Field(None, description="What must not be there.", examples=["no logo"])
    filter: JsonObject = Field(
        default={}, description="Attribute conditions that must all hold.", examples=[{"price": {"lte": 80}}]
    )
    top_k: int = Field(20, ge=1, le=MAX_TOP_K, description="Results wanted.")
    strategy: Strategy = Field("intersection", description="How reference and text are composed.")
    rerank: bool | RerankIn | None = Field(
        None, description="false: no second stage; null: the operator's defaults, for composed queries."
    )
    explain: bool = Field(default=False, description="Name the concepts that were kept and dropped.")
    include_reference: bool = Field(default=False, description="Let the reference itself be a result.")
    min_score: Finite | None = Field(None, description="Leave out results below this coarse score.")
    callback_url: CallbackUrl | None = None

    def to_use_case(self, settings: Settings, *, picture: bytes | None = None) -> NewQuery:
        """What the use case takes; `picture` is the uploaded reference."""
        return NewQuery(
            reference=self._reference(picture),
            text=self.text,
            negative_text=self.negative_text,
            filter=self.filter,
            top_k=self.top_k,
            strategy=self.strategy,
            rerank=self._rerank(settings),
            explain=self.explain,
            include_reference=self.include_reference,
            min_score=self.min_score,
            callback_url=self.callback_url,
        )

    def _reference(self, picture: bytes | None) -> Reference | None:
        known = self.reference
        if known is None:
            return None if picture is None else Reference(data=picture)
        return Reference(
            image_id=known.image_id,
            external_id=known.external_id,
            data=picture,
            url=known.url,
            region=known.region,
        )

    def _rerank(self, settings: Settings) -> RerankOptions | bool | None:
        if not isinstance(self.rerank, RerankIn):
            return self.rerank
        return RerankOptions(
            depth=self.rerank.depth or settings.rerank_depth,
            budget_s=self.rerank.budget_seconds or settings.rerank_budget_s,
        )


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


def query_result(meta: dict[str, Any], rows: tuple[RankedImage, ...]) -> dict[str, Any]:
    """A query's `result`: what the workers stored about it, and its rows."""
    result = QueryResult(
        reranked=meta.get("reranked", False),
        provisional=meta.get("provisional", False),
        reason=meta.get("reason"),
        strategy=meta.get("strategy", ""),
        index_id=meta.get("index_id"),
        timings_ms=meta.get("timings_ms") or {},
        results=[_result(row, rank) for rank, row in enumerate(rows, start=1)],
        explanation=meta.get("explanation"),
    )
    return result.model_dump(mode="json")


def _result(row: RankedImage, rank: int) -> ResultOut:
    found = row.candidate
    return ResultOut(
        rank=rank,
        image_id=found.image_id,
        external_id=found.external_id,
        score=found.score,
        coarse=CoarseOut(rank=found.coarse_rank, score=found.coarse_score),
        rerank=None if found.p_yes is None else JudgedOut(p_yes=found.p_yes),
        image_url=row.image_url,
        thumbnail_url=row.thumbnail_url,
        attributes=row.attributes,
    )
