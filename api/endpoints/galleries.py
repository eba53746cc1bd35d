"""Galleries."""

from http import HTTPStatus

from apiflask import APIBlueprint
from flask import Response

from api.auth import principal, protected
from api.idempotency import idempotent
from api.paging import page_key, page_token
from api.replies import absolute, accepted, expected_version, json_reply, version_tag
from api.runtime import context
from api.schemas.common import CallbackQuery, PageQuery
from api.schemas.galleries import GalleryIn, GalleryOut, GalleryPage, GalleryPatchIn, gallery_out
from api.schemas.jobs import JobOut
from core import galleries
from core.models import Scope

bp = APIBlueprint("galleries", __name__, tag="Galleries")


@bp.post("/galleries")
@protected(Scope.WRITE)
@bp.input(GalleryIn)
@bp.output(GalleryOut, HTTPStatus.CREATED)
@idempotent
def create_gallery(json_data: GalleryIn) -> Response:
    """Create a gallery."""
    gallery = galleries.create(context(), principal(), json_data.to_use_case())
    headers = {"Location": absolute(f"/galleries/{gallery.name}"), **version_tag(gallery.version)}
    return json_reply(gallery_out(gallery), status=HTTPStatus.CREATED, headers=headers)


@bp.get("/galleries")
@protected(Scope.READ)
@bp.input(PageQuery, location="query")
@bp.output(GalleryPage)
def list_galleries(query_data: PageQuery) -> Response:
    """List galleries by name."""
    key = page_key(query_data.page_token, {})
    page = galleries.list_page(context(), principal(), size=query_data.page_size, after=key)
    items = [gallery_out(gallery) for gallery in page.items]
    return json_reply(GalleryPage(items=items, next_page_token=page_token(page.next_key, {})))


@bp.get("/galleries/<gallery>")
@protected(Scope.READ)
@bp.output(GalleryOut)
def get_gallery(gallery: str) -> Response:
    """Get a gallery. Its ETag stands for the settings, not for the number of images."""
    found = galleries.get(context(), principal(), gallery)
    return json_reply(gallery_out(found), headers=version_tag(found.version))


@bp.patch("/galleries/<gallery>")
@protected(Scope.WRITE)
@bp.input(GalleryPatchIn)
@bp.output(GalleryOut)
def patch_gallery(gallery: str, json_data: GalleryPatchIn) -> Response:
    """Change settings of a gallery."""
    changed = galleries.update(context(), principal(), gallery, json_data.to_use_case(expected_version()))
    return json_reply(gallery_out(changed), headers=version_tag(changed.version))


@bp.delete("/galleries/<gallery>")
@protected(Scope.WRITE)
@bp.input(CallbackQuery, location="query")
@bp.output(JobOut, HTTPStatus.ACCEPTED)
def delete_gallery(gallery: str, query_data: CallbackQuery) -> Response:
    """Delete a gallery with its images: gone at once, cleaned up by a job."""
    job = galleries.delete(
        context(), principal(), gallery, version=expected_version(), callback_url=query_data.callback_url
    )
    return accepted(job)
