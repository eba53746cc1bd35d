"""Single images of a gallery."""

import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import BinaryIO
from uuid import UUID

from apiflask import APIBlueprint
from flask import Response

from api.auth import principal, protected
from api.paging import page_key, page_token
from api.replies import absolute, expected_version, json_reply, not_modified, unchanged, version_tag
from api.runtime import context
from api.schemas.galleries import ImageOut, ImagePage, ImagePatchIn, ImagesQuery, image_out
from core import galleries
from core.errors import FieldError, InvalidInputError
from core.filters import Filter, parse_filter
from core.models import Image, Scope

bp = APIBlueprint("images", __name__, tag="Images")

CHUNK_BYTES = 256 * 1024
_UNSAFE_IN_FILENAME = re.compile(r"[^A-Za-z0-9._-]+")
# Bytes that a client uploaded: no browser may take them for anything but a picture.
_SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-cache",
}


@bp.get("/galleries/<gallery>/images")
@protected(Scope.READ)
@bp.input(ImagesQuery, location="query")
@bp.output(ImagePage)
def list_images(gallery: str, query_data: ImagesQuery) -> Response:
    """List images of a gallery by age; `filter` takes the JSON that queries take."""
    filters = {"gallery": gallery, "filter": query_data.filter, "external_id": query_data.external_id}
    query = galleries.ImageQuery(
        size=query_data.page_size,
        after=page_key(query_data.page_token, filters),
        where=_filter(query_data.filter),
        external_id=query_data.external_id,
    )
    page = galleries.list_images(context(), principal(), gallery, query)
    items = [image_out(image, _url(gallery, image)) for image in page.items]
    return json_reply(ImagePage(items=items, next_page_token=page_token(page.next_key, filters)))


@bp.get("/galleries/<gallery>/images/<uuid:image_id>")
@protected(Scope.READ)
@bp.output(ImageOut)
def get_image(gallery: str, image_id: UUID) -> Response:
    """Get an image's metadata."""
    image = galleries.get_image(context(), principal(), gallery, image_id)
    headers = {**version_tag(image.version), "Cache-Control": "private, no-cache"}
    return (
        unchanged(headers)
        if not_modified(headers)
        else json_reply(image_out(image, _url(gallery, image)), headers=headers)
    )


@bp.get("/galleries/<gallery>/images/<uuid:image_id>/content")
@protected(Scope.READ)
def get_content(gallery: str, image_id: UUID) -> Response:
    """Get the picture as it was uploaded."""
    image = galleries.get_image(context(), principal(), gallery, image_id)
    headers = _picture_headers(image, tag=image.blob.sha256)
    if not_modified(headers):
        return unchanged(headers)
    content = galleries.image_content(context(), image)
    headers["Content-Length"] = str(image.blob.size_bytes)
    return Response(_chunks(content), headers=headers, mimetype=image.blob.media_type)


@bp.get("/galleries/<gallery>/images/<uuid:image_id>/thumbnail")
@protected(Scope.READ)
def get_thumbnail(gallery: str, image_id: UUID) -> Response:
    """Get a small JPEG of the picture."""
    image = galleries.get_image(context(), principal(), gallery, image_id)
    headers = _picture_headers(image, tag=f"{image.blob.sha256}-thumbnail")
    if not_modified(headers):
        return unchanged(headers)
    return Response(galleries.image_thumbnail(context(), image), headers=headers, mimetype="image/jpeg")


@bp.patch("/galleries/<gallery>/images/<uuid:image_id>")
@protected(Scope.WRITE)
@bp.input(ImagePatchIn)
@bp.output(ImageOut)
def patch_image(gallery: str, image_id: UUID, json_data: ImagePatchIn) -> Response:
    """Change attributes of an image (JSON merge patch); never embeds again."""
    patch = galleries.AttributesPatch(attributes=json_data.attributes, version=expected_version())
    image = galleries.patch_image(context(), principal(), gallery, image_id, patch=patch)
    return json_reply(image_out(image, _url(gallery, image)), headers=version_tag(image.version))


@bp.delete("/galleries/<gallery>/images/<uuid:image_id>")
@protected(Scope.WRITE)
@bp.doc(responses={204: "Deleted"})
def delete_image(gallery: str, image_id: UUID) -> Response:
    """Delete an image and its vectors."""
    galleries.delete_image(context(), principal(), gallery, image_id, version=expected_version())
    return Response(status=HTTPStatus.NO_CONTENT)


def _filter(raw: str | None) -> Filter | None:
    if raw is None:
        return None
    try:
        decoded = json.loads(raw)
    except (ValueError, RecursionError) as error:
        detail = 'must be JSON, such as {"category": "dress"}'
        raise InvalidInputError(f"`filter` {detail}.", errors=(FieldError("/filter", detail),)) from error
    return parse_filter(decoded)


def _url(gallery: str, image: Image) -> str:
    return absolute(f"/galleries/{gallery}/images/{image.id}")


def _picture_headers(image: Image, *, tag: str) -> dict[str, str]:
    name = _UNSAFE_IN_FILENAME.sub("_", image.external_id).strip(".")[-100:] or "image"
    return {**_SAFE_HEADERS, "ETag": f'"{tag}"', "Content-Disposition": f'inline; filename="{name}"'}


def _chunks(content: BinaryIO) -> Iterator[bytes]:
    with content:
        while chunk := content.read(CHUNK_BYTES):
            yield chunk
