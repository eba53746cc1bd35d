"""Queries: JSON, or multipart when the reference picture comes along."""

from http import HTTPStatus
from typing import Any

from apiflask import APIBlueprint
from flask import Response, current_app, request
from pydantic import ValidationError

from api.auth import principal, protected
from api.bodies import JSON, MEBIBYTE, MULTIPART, bound_body, expect_media_type
from api.idempotency import idempotent
from api.replies import accepted
from api.runtime import context
from api.schemas.jobs import JobOut
from api.schemas.queries import QueryIn
from core import queries
from core.errors import FieldError, InvalidInputError, TooLargeError
from core.fields import invalid
from core.models import Scope

bp = APIBlueprint("queries", __name__, tag="Queries")

PICTURE = "reference_image"
WHOLE = "query"
JSON_FIELDS = frozenset({"reference", "filter", "rerank"})


@bp.post("/galleries/<gallery>/queries")
@protected(Scope.QUERY)
@bp.output(JobOut, HTTPStatus.ACCEPTED)
def create_query(gallery: str) -> Response:
    """Search a gallery by a reference picture, a text, or both.

    As multipart, `reference_image` is the picture, and the query comes either as the part `query` (the JSON body) or
    as flat fields of the same names, where `reference`, `filter` and `rerank` hold JSON.
    """
    bound_body((context().settings.max_reference_mib + 1) * MEBIBYTE)
    expect_media_type(JSON, MULTIPART)
    return _submit(gallery)


@idempotent
def _submit(gallery: str) -> Response:
    multipart = request.mimetype == MULTIPART
    document = _form() if multipart else request.get_json()
    try:
        query = QueryIn.model_validate(document)
    except ValidationError as error:
        raise invalid(error, document) from error
    picture = _picture(query) if multipart else None
    new = query.to_use_case(context().settings, picture=picture)
    return accepted(queries.submit(context(), principal(), gallery, new))


def _form() -> dict[str, Any]:
    fields: dict[str, Any] = request.form.to_dict()
    strangers = set(request.files) - {PICTURE, WHOLE}
    if strangers:
        name = min(strangers)
        raise _wrong(name, f"is no file of a query; send the picture as `{PICTURE}`")
    whole = request.files.get(WHOLE)
    raw = whole.stream.read() if whole is not None else fields.pop(WHOLE, None)
    if raw is None:
        return {name: _json(name, value) if name in JSON_FIELDS else value for name, value in fields.items()}
    if fields:
        raise _wrong(min(fields), f"came beside the part `{WHOLE}`; put it inside")
    document = _json(WHOLE, raw)
    if not isinstance(document, dict):
        raise _wrong(WHOLE, "must be a JSON object")
    return document


def _json(name: str, raw: str | bytes) -> Any:
    try:
        return current_app.json.loads(raw)
    except ValueError as error:
        raise _wrong(name, "must be JSON") from error


def _picture(query: QueryIn) -> bytes | None:
    file = request.files.get(PICTURE)
    if file is None:
        return None
    if query.reference is not None and query.reference.named:
        raise _wrong("reference", f"names a picture although `{PICTURE}` came along; send one of the two")
    limit = context().settings.max_reference_mib * MEBIBYTE
    data = file.stream.read(limit + 1)
    if len(data) > limit:
        raise TooLargeError(f"`{PICTURE}` is larger than {limit} bytes; send a smaller picture.")
    if not data:
        raise _wrong(PICTURE, "is empty")
    return data


def _wrong(name: str, detail: str) -> InvalidInputError:
    return InvalidInputError(f"`{name}` {detail}.", errors=(FieldError(f"/{name}", detail),))
