"""Upload sessions."""

from http import HTTPStatus

from apiflask import APIBlueprint
from flask import Response

from api.auth import principal, protected
from api.idempotency import idempotent
from api.replies import json_reply
from api.runtime import context
from api.schemas.imports import UploadsIn, UploadsOut, upload_out
from core import uploads
from core.models import Scope

bp = APIBlueprint("uploads", __name__, tag="Imports")


@bp.post("/galleries/<gallery>/uploads")
@protected(Scope.WRITE)
@bp.input(UploadsIn)
@bp.output(UploadsOut, HTTPStatus.CREATED)
@idempotent
def create_uploads(gallery: str, json_data: UploadsIn) -> Response:
    """Announce files and get a URL for each, to which its bytes are PUT; then import them by their `upload_ids`.

    Each file is what a multipart `file` of an import would be: a picture, an archive, a manifest, or a list of URLs.
    """
    announced = uploads.announce(context(), principal(), gallery, json_data.to_use_case())
    reply = UploadsOut(uploads=[upload_out(one) for one in announced])
    return json_reply(reply, status=HTTPStatus.CREATED)
