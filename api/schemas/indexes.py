"""Bodies of indexes: generations of a gallery's vectors."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from api.schemas.common import NO_NUL, Body, CallbackUrl, Reply
from core.generations import Activation, IndexView, NewIndex
from core.models import IndexState


class IndexIn(Body):
    """A re-index."""

    encoder: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NO_NUL)] | None = Field(
        None, description="One of the operator's encoders; null: the gallery's present one.", examples=["demo"]
    )
    activate: Activation = Field(
        Activation.WHEN_READY, description="Let it answer as soon as it has passed its check, or on demand."
    )
    callback_url: CallbackUrl | None = None

    def to_use_case(self, gallery: str) -> NewIndex:
        """What the use case takes."""
        return NewIndex(gallery, encoder=self.encoder, activate=self.activate, callback_url=self.callback_url)


class IdentityOut(Reply):
    """What makes two vectors comparable."""

    spec: str
    architecture: str
    weights_sha256: str
    dim: int
    preprocessing: str


class IndexOut(Reply):
    """One generation of vectors."""

    id: UUID
    encoder: str
    state: IndexState
    identity: IdentityOut | None = Field(description="Null until a worker has loaded the encoder.")
    pending: int = Field(description="Images whose vector it still lacks; only with 0 can it be activated.")
    built: float = Field(
        description="Share of what makes searching it fast that is built, 0..1; 1 too where it is small enough without."
    )
    created_at: datetime | None
    changed_at: datetime | None = Field(description="Since when it is in its state.")


class IndexList(Reply):
    """The generations that are not dropped, oldest first."""

    items: list[IndexOut]


class SelfCheckOut(Reply):
    """What a new index was found to be like before it answered."""

    vectors: int
    queries: int
    recall: float = Field(description="Share of the exact results that it finds, over sampled queries.")
    embedded: int
    least_similarity: float = Field(description="Least cosine of pictures embedded anew to their stored vectors.")


class ReindexResult(Reply):
    """The result of a re-index."""

    index_id: UUID
    state: IndexState
    self_check: SelfCheckOut


def index_out(view: IndexView) -> IndexOut:
    """A generation as JSON."""
    index = view.index
    identity = None if index.identity is None else IdentityOut.model_validate(index.identity, from_attributes=True)
    return IndexOut(
        id=index.id,
        encoder=index.encoder,
        state=index.state,
        identity=identity,
        pending=view.pending,
        built=view.built,
        created_at=index.created_at,
        changed_at=index.changed_at,
    )
