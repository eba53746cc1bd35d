"""Imports."""

from http import HTTPStatus
from typing import BinaryIO, cast

from apiflask import APIBlueprint
from flask import Response, request
from pydantic import ValidationError
from werkzeug.datastructures import FileStorage

from api.auth import principal, protected
from api.bodies import JSON, MEBIBYTE, MULTIPART, bound_body, expect_media_type
from api.idempotency import idempotent
from api.replies import accepted
from api.runtime import context
from api.schemas.imports import MAX_FILENAME, ImportIn
from api.schemas.jobs import JobOut
from core import imports
from core.errors import FieldError, InvalidInputError
from core.fields import invalid
from core.models import Scope

bp = APIBlueprint("imports", __name__, tag="Imports")

MAX_FILES = 10_000
MAX_SOURCE_BYTES = 16 * MEBIBYTE
FIELDS = frozenset({"mode", "max_delete_share", "callback_url"})


@bp.post("/galleries/<gallery>/imports")
@protected(Scope.WRITE)
@bp.output(JobOut, HTTPStatus.ACCEPTED)
def create_import(gallery: str) -> Response:
    """Import images, always as a job: files as multipart, or as JSON a source where they are already.

    Files are pictures, a ZIP or tar archive, a manifest (.csv, .jsonl) or a list of URLs (.txt). Without a manifest the
    file name (or the path inside the archive) becomes the `external_id`.
    """
    if request.mimetype == JSON:
        bound_body(MAX_SOURCE_BYTES)
    else:
        bound_body(context().settings.max_upload_mib * MEBIBYTE)
        expect_media_type(MULTIPART, JSON)
        request.max_form_parts = MAX_FILES
    return _submit(gallery)


@idempotent
def _submit(gallery: str) -> Response:
    new = _from_json(gallery) if request.mimetype == JSON else _from_form(gallery)
    return accepted(imports.submit(context(), principal(), new))


def _from_json(gallery: str) -> imports.NewImport:
    document = request.get_json()
    try:
        return ImportIn.model_validate(document).to_use_case(gallery)
    except ValidationError as error:
        raise invalid(error, document) from error


def _from_form(gallery: str) -> imports.NewImport:
    files = [_uploaded(file, number) for number, file in enumerate(request.files.getlist("file"))]
    _refuse_strangers()
    return imports.NewImport(
        gallery=gallery,
        files=files,
        mode=request.form.get("mode", imports.UPSERT),
        max_delete_share=_share(request.form.get("max_delete_share")),
        callback_url=request.form.get("callback_url"),
    )


def _refuse_strangers() -> None:
    """A misspelt field must not be dropped in silence."""
    strangers = sorted((set(request.files) - {"file"}) | (set(request.form) - FIELDS))
    if strangers:
        errors = tuple(FieldError(f"/{name}", "is not a field of an import") for name in strangers)
        raise InvalidInputError(
            "An import takes `file` (one or more), `mode`, `max_delete_share` and `callback_url`.", errors=errors
        )


def _share(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError as error:
        detail = "must be a number from 0 to 1"
        errors = (FieldError("/max_delete_share", detail),)
        raise InvalidInputError(f"`max_delete_share` {detail}.", errors=errors) from error


def _uploaded(file: FileStorage, number: int) -> imports.UploadedFile:
    name = file.filename or ""
    if not 1 <= len(name) <= MAX_FILENAME or not name.isprintable():
        detail = f"needs a file name of 1 to {MAX_FILENAME} printable characters: it becomes the external_id"
        raise InvalidInputError(f"`file` {number} {detail}.", errors=(FieldError(f"/file/{number}", detail),))
    return imports.UploadedFile(filename=name, stream=cast("BinaryIO", file.stream), media_type=file.mimetype)
