"""Queries as clients write them, checked field by field: bodies of requests and lines of batches."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from core.fields import Body, ExternalId, Finite, JsonObject, Text, Url
from core.models import RerankOptions
from core.queries import MAX_TOP_K, NewQuery, Reference
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


class QueryForm(Body):
    """What every query may say: a request's body, or a line of a batch."""

    reference: ReferenceIn | None = None
    text: Text | None = Field(None, description="What should differ, or what to find.", examples=["in red"])
    negative_text: Text | None = Field(None, description="What must not be there.", examples=["no logo"])
    filter: JsonObject = Field(
        default={},
        description="Attribute conditions that must all hold: "
        "a value, a list, or `eq`, `in`, `lt`, `lte`, `gt`, `gte`, `prefix`, `exists`; also `and`, `or`, `not`.",
        examples=[{"price": {"lte": 80}}],
    )
    top_k: int = Field(20, ge=1, le=MAX_TOP_K, description="Results wanted.")
    strategy: Strategy = Field("intersection", description="How reference and text are composed.")
    rerank: bool | RerankIn | None = Field(
        None, description="false: no second stage; null: the operator's defaults, for composed queries."
    )
    explain: bool = Field(default=False, description="Name the concepts that were kept and dropped.")
    include_reference: bool = Field(default=False, description="Let the reference itself be a result.")
    min_score: Finite | None = Field(None, description="Leave out results below this coarse score.")
    group_by: Text | None = Field(
        None, description="One result for each value of this attribute: its best picture.", examples=["product_id"]
    )
    collapse_duplicates: bool = Field(
        default=False, description="Of pictures that look the same only the best is a result."
    )

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
            group_by=self.group_by,
            collapse_duplicates=self.collapse_duplicates,
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
