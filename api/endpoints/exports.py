"""Exports of galleries."""

from http import HTTPStatus

from apiflask import APIBlueprint
from flask import Response

from api.auth import principal, protected
from api.idempotency import idempotent
from api.replies import accepted
from api.runtime import context
from api.schemas.exports import ExportIn
from api.schemas.jobs import JobOut
from core import exports
from core.models import Scope

bp = APIBlueprint("exports", __name__, tag="Galleries")


@bp.post("/galleries/<gallery>/exports")
@protected(Scope.READ)
@bp.input(ExportIn)
@bp.output(JobOut, HTTPStatus.ACCEPTED)
@idempotent
def create_export(gallery: str, json_data: ExportIn) -> Response:
    """Write metadata and vectors of all images as Parquet files; the job's result has a short-lived URL for each."""
    return accepted(exports.submit(context(), principal(), json_data.to_use_case(gallery)))
