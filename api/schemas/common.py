"""Types and bases that several bodies share."""

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from api.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, MAX_TOKEN
from core.fields import NO_NUL, Body, CallbackUrl, ExternalId, Finite, JsonObject, Name, Text, Url

T = TypeVar("T")

__all__ = [
    "NO_NUL",
    "Body",
    "CallbackQuery",
    "CallbackUrl",
    "ExternalId",
    "FieldProblem",
    "Finite",
    "JsonObject",
    "Name",
    "PageOut",
    "PageQuery",
    "Problem",
    "Reply",
    "Text",
    "Url",
]


class Reply(BaseModel):
    """Base of everything that goes out."""

    model_config = ConfigDict(frozen=True)


class PageQuery(Body):
    """Query parameters of a listing."""

    page_size: int = Field(DEFAULT_PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE, description="Items a page.")
    page_token: str | None = Field(
        None, min_length=1, max_length=MAX_TOKEN, description="`next_page_token` of the page before."
    )


class CallbackQuery(Body):
    """Query parameters of a call that makes a job and has no body."""

    callback_url: CallbackUrl | None = None


class PageOut(Reply, Generic[T]):
    """One page; `next_page_token` is null at the end."""

    items: list[T]
    next_page_token: str | None = None


class FieldProblem(Reply):
    """One invalid field."""

    pointer: str = Field(description="JSON pointer into the body, or to the query parameter.", examples=["/top_k"])
    detail: str


class Problem(Reply):
    """RFC 9457 problem."""

    type: str = Field(description="Stable per cause.", examples=["urn:setr:problem:not_found"])
    title: str
    status: int
    detail: str = Field(description="What to do.")
    instance: str = Field(description="The path that was called.")
    request_id: str | None = Field(description="Finds this request in the logs.")
    errors: list[FieldProblem] = Field(default=[], description="Invalid fields, if that was the cause.")
