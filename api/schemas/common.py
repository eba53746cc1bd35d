"""Types and bases that several bodies share."""

from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from api.bodies import storable
from api.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, MAX_TOKEN
from core.urls import MAX_URL

T = TypeVar("T")

NO_NUL = r"^[^\x00]*$"  # Postgres takes none


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("use printable characters only")
    return text


Text = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=NO_NUL)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
ExternalId = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=NO_NUL), AfterValidator(_printable)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL, pattern=NO_NUL)]
CallbackUrl = Annotated[
    Url,
    Field(description="Called by a signed POST (Standard Webhooks) when the job has ended."),
]
JsonObject = Annotated[dict[str, Any], AfterValidator(storable)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Body(BaseModel):
    """Base of everything that comes in."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
