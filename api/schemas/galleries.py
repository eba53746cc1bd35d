"""Bodies of galleries and images."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from api.schemas.common import NO_NUL, Body, ExternalId, JsonObject, Name, PageOut, PageQuery, Reply
from core.galleries import GalleryPatch, NewGallery
from core.models import Device, Gallery, Image

AttributeName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NO_NUL)]
AttributeType = Literal["string", "number", "boolean"]
AttributesSchema = Annotated[dict[AttributeName, AttributeType], Field(max_length=500)]
MAX_FILTER = 20_000


class GalleryIn(Body):
    """A new gallery."""

    name: Name = Field(examples=["summer-26"])
    encoder: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NO_NUL)] | None = Field(
        None, description="One of the operator's encoders; null: the default one.", examples=["demo"]
    )
    device: Device = Field(Device.AUTO, description="Where embeddings are computed.")
    attributes_schema: AttributesSchema | None = Field(
        None, description="Types of CSV columns; the others are guessed.", examples=[{"price": "number"}]
    )

    def to_use_case(self) -> NewGallery:
        """What the use case takes."""
        schema = dict[str, str](self.attributes_schema) if self.attributes_schema is not None else None
        return NewGallery(name=self.name, encoder=self.encoder, device=self.device, attributes_schema=schema)


class GalleryPatchIn(Body):
    """What to change of a gallery; what is missing or null stays."""

    device: Device | None = None
    attributes_schema: AttributesSchema | None = None

    def to_use_case(self, version: int | None) -> GalleryPatch:
        """What the use case takes; `version` comes from If-Match."""
        schema = dict[str, str](self.attributes_schema) if self.attributes_schema is not None else None
        return GalleryPatch(device=self.device, attributes_schema=schema, version=version)


class GalleryOut(Reply):
    """A gallery."""

    id: UUID
    name: str
    encoder: str
    device: Device
    attributes_schema: dict[str, str]
    active_index_id: UUID | None
    image_count: int
    created_at: datetime
    updated_at: datetime


class GalleryPage(PageOut[GalleryOut]):
    """One page of galleries."""


class ImagesQuery(PageQuery):
    """Query parameters of the listing of images."""

    filter: str | None = Field(
        None,
        max_length=MAX_FILTER,
        description="JSON: attribute conditions that must all hold, as in queries.",
        examples=['{"category": "dress", "price": {"lte": 80}}'],
    )
    external_id: ExternalId | None = Field(None, description="The shop's own id; finds at most one image.")
    state: Literal["ready"] | None = Field(None, description="Images appear when they are ready to be found.")


class ImagePatchIn(Body):
    """A JSON merge patch of attributes: null removes one. Never embeds again."""

    attributes: Annotated[JsonObject, Field(max_length=500)] = Field(examples=[{"in_stock": False, "color": None}])


class ImageLinks(Reply):
    """Where an image's bytes are."""

    self: str
    content: str
    thumbnail: str


class ImageOut(Reply):
    """An image of a gallery."""

    id: UUID
    external_id: str
    state: str
    attributes: dict[str, Any]
    sha256: str
    media_type: str
    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels.")
    size_bytes: int
    last_job_id: UUID
    created_at: datetime
    updated_at: datetime
    links: ImageLinks


class ImagePage(PageOut[ImageOut]):
    """One page of images."""


def gallery_out(gallery: Gallery) -> GalleryOut:
    """A gallery as JSON."""
    return GalleryOut.model_validate(gallery, from_attributes=True)


def image_out(image: Image, url: str) -> ImageOut:
    """An image as JSON; `url` is its own."""
    return ImageOut(
        id=image.id,
        external_id=image.external_id,
        state=image.state,
        attributes=image.attributes,
        sha256=image.blob.sha256,
        media_type=image.blob.media_type,
        width=image.blob.width,
        height=image.blob.height,
        size_bytes=image.blob.size_bytes,
        last_job_id=image.last_job_id,
        created_at=image.created_at,
        updated_at=image.updated_at,
        links=ImageLinks(self=url, content=f"{url}/content", thumbnail=f"{url}/thumbnail"),
    )
