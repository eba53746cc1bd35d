"""Generations of a gallery's vectors: re-index, switch, go back, retire."""

from http import HTTPStatus
from uuid import UUID

from apiflask import APIBlueprint
from flask import Response

from api.auth import principal, protected
from api.idempotency import idempotent
from api.replies import accepted, json_reply
from api.runtime import context
from api.schemas.indexes import IndexIn, IndexList, IndexOut, index_out
from api.schemas.jobs import JobOut
from core import generations
from core.models import Scope

bp = APIBlueprint("indexes", __name__, tag="Re-indexing")


@bp.post("/galleries/<gallery>/indexes")
@protected(Scope.WRITE)
@bp.input(IndexIn)
@bp.output(JobOut, HTTPStatus.ACCEPTED)
@idempotent
def create_index(gallery: str, json_data: IndexIn) -> Response:
    """Build an index with an encoder beside the active one, which goes on answering while imports go on.

    A half-made one of the same encoder, whose job failed or was canceled, is continued. One re-index a gallery at a
    time.
    """
    return accepted(generations.submit(context(), principal(), json_data.to_use_case(gallery)))


@bp.get("/galleries/<gallery>/indexes")
@protected(Scope.READ)
@bp.output(IndexList)
def list_indexes(gallery: str) -> Response:
    """List the indexes that are not dropped, oldest first."""
    found = generations.list_live(context(), principal(), gallery)
    return json_reply(IndexList(items=[index_out(view) for view in found]))


@bp.get("/galleries/<gallery>/indexes/<uuid:index_id>")
@protected(Scope.READ)
@bp.output(IndexOut)
def get_index(gallery: str, index_id: UUID) -> Response:
    """Get an index, also a dropped one: queries say by its id which one answered."""
    return json_reply(index_out(generations.get(context(), principal(), gallery, index_id)))


@bp.post("/galleries/<gallery>/indexes/<uuid:index_id>/activate")
@protected(Scope.WRITE)
@bp.output(IndexOut)
@idempotent
def activate_index(gallery: str, index_id: UUID) -> Response:
    """Let a ready index answer from now on, or go back to one that stands by: at once, and for all queries."""
    return json_reply(index_out(generations.activate(context(), principal(), gallery, index_id)))


@bp.delete("/galleries/<gallery>/indexes/<uuid:index_id>")
@protected(Scope.WRITE)
@bp.doc(responses={204: "Retired"})
def delete_index(gallery: str, index_id: UUID) -> Response:
    """Retire an index that is not the active one, and cancel the job that builds it."""
    generations.retire(context(), principal(), gallery, index_id)
    return Response(status=HTTPStatus.NO_CONTENT)
