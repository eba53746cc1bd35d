"""Query batches: many queries as one file, one job, and one file of answers."""

from http import HTTPStatus
from typing import BinaryIO, cast

from apiflask import APIBlueprint
from flask import Response, request

from api.auth import principal, protected
from api.bodies import MEBIBYTE, MULTIPART, bound_body, expect_media_type
from api.idempotency import idempotent
from api.replies import accepted
from api.runtime import context
from api.schemas.jobs import JobOut
from core import querybatches
from core.errors import FieldError, InvalidInputError
from core.models import Scope

bp = APIBlueprint("batches", __name__, tag="Queries")

FILE = "file"
CALLBACK_URL = "callback_url"


@bp.post("/galleries/<gallery>/query-batches")
@protected(Scope.QUERY)
@bp.output(JobOut, HTTPStatus.ACCEPTED)
def create_query_batch(gallery: str) -> Response:
    """Answer a file of queries (JSON lines). The job's result is a file with a line for each, in the same order."""
    bound_body(context().settings.max_batch_mib * MEBIBYTE)
    expect_media_type(MULTIPART)
    return _submit(gallery)


@idempotent
def _submit(gallery: str) -> Response:
    files = request.files.getlist(FILE)
    strangers = sorted((set(request.files) - {FILE}) | (set(request.form) - {CALLBACK_URL}))
    if len(files) != 1 or strangers:
        problem = "is not a field of a query batch" if strangers else "must come exactly once"
        field = strangers[0] if strangers else FILE
        raise InvalidInputError(
            "A query batch takes one `file` of JSON lines and a `callback_url`.",
            errors=(FieldError(f"/{field}", problem),),
        )
    new = querybatches.NewBatch(gallery, cast("BinaryIO", files[0].stream), request.form.get(CALLBACK_URL))
    return accepted(querybatches.submit(context(), principal(), new))
