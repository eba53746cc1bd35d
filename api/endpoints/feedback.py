"""Feedback on results: in by query, out by gallery."""

from dataclasses import replace
from uuid import UUID

from apiflask import APIBlueprint
from flask import Response

from api.auth import principal, protected
from api.idempotency import idempotent
from api.paging import MAX_PAGE_SIZE, every
from api.replies import NDJSON, json_reply
from api.runtime import context
from api.schemas.feedback import ExportQuery, FeedbackIn, FeedbackOut, judgment_out
from core import feedback
from core.models import Scope
from core.ports import FeedbackQuery

bp = APIBlueprint("feedback", __name__, tag="Queries")


@bp.post("/jobs/<uuid:job_id>/feedback")
@protected(Scope.QUERY, Scope.WRITE)
@bp.input(FeedbackIn)
@bp.output(FeedbackOut)
@idempotent
def give_feedback(job_id: UUID, json_data: FeedbackIn) -> Response:
    """Say which images answer a finished query. Unless all are images of its gallery, nothing is stored."""
    kept, triplets = feedback.keep(context(), principal(), job_id, json_data.by_external_id())
    out = FeedbackOut(stored=kept.stored, changed=kept.changed, unchanged=kept.unchanged, triplets=triplets)
    return json_reply(out)


@bp.get("/galleries/<gallery>/feedback")
@protected(Scope.READ)
@bp.input(ExportQuery, location="query")
def list_feedback(gallery: str, query_data: ExportQuery) -> Response:
    """All judgements as JSON lines, in the order in which people judged: what `setr train reranker` reads."""
    ctx, who = context(), principal()
    query = FeedbackQuery(size=MAX_PAGE_SIZE, since=query_data.since, incomplete=query_data.incomplete)
    judged = every(lambda after: feedback.list_page(ctx, who, gallery, replace(query, after=after)))
    lines = (f"{judgment_out(one).model_dump_json()}\n" for one in judged)
    return Response(lines, mimetype=NDJSON)
