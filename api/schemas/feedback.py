"""Bodies of feedback on results."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field, StrictBool, model_validator

from api.schemas.common import Body, ExternalId, Reply
from core.feedback import MAX_JUDGMENTS
from core.models import Feedback


class JudgmentIn(Body):
    """Whether an image answers the query."""

    external_id: ExternalId = Field(description="An image of the gallery that was searched.", examples=["sku-9"])
    relevant: StrictBool = Field(examples=[True])


class FeedbackIn(Body):
    """Judgements of a query's results. The same one again changes nothing, another one replaces it."""

    judgments: Annotated[list[JudgmentIn], Field(min_length=1, max_length=MAX_JUDGMENTS)] = Field(
        examples=[[{"external_id": "sku-9", "relevant": True}, {"external_id": "sku-4", "relevant": False}]]
    )

    @model_validator(mode="after")
    def _each_once(self) -> "FeedbackIn":
        if len(self.by_external_id()) < len(self.judgments):
            raise ValueError("judge each `external_id` once")
        return self

    def by_external_id(self) -> dict[str, bool]:
        """What the use case takes."""
        return {each.external_id: each.relevant for each in self.judgments}


class FeedbackOut(Reply):
    """What became of the judgements. The three counts add up to the number that was sent."""

    stored: int = Field(description="New ones.", examples=[2])
    changed: int = Field(description="Those that replaced another one.", examples=[0])
    unchanged: int = Field(description="Those that were known already.", examples=[0])
    triplets: bool = Field(
        description="Whether training can use them: the query had a text, and as its reference a whole image of the"
        " gallery. Uploaded pictures are deleted with their query, so none of these."
    )


class ExportQuery(Body):
    """Query parameters of the listing of feedback."""

    since: AwareDatetime | None = Field(
        None, description="Judged, or judged anew, at this time or later.", examples=["2026-11-23T00:00:00Z"]
    )
    incomplete: bool = Field(
        default=False, description="Also what makes no triplet; `reference` or `text` is null there."
    )


class JudgmentOut(Reply):
    """One line of a gallery's feedback: of two of the same reference, text and image the later one counts."""

    reference: str | None = Field(description="`external_id` of the image that was searched with.", examples=["sku-1"])
    text: str | None = Field(examples=["in red"])
    external_id: str = Field(description="The judged image.", examples=["sku-9"])
    relevant: bool
    job_id: UUID = Field(description="The query; it may be gone.")
    judged_at: datetime


def judgment_out(feedback: Feedback) -> JudgmentOut:
    """A judgement as JSON."""
    return JudgmentOut.model_validate(feedback, from_attributes=True)
