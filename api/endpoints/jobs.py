"""Jobs: list, poll, long-poll, items, cancel, retry."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from uuid import UUID

from apiflask import APIBlueprint
from flask import Response, request

from api.auth import principal, protected
from api.idempotency import idempotent
from api.paging import MAX_PAGE_SIZE, every, page_key, page_token
from api.replies import NDJSON, accepted, job_headers, json_reply, not_modified, present, unchanged
from api.requests import waiting
from api.runtime import context, runtime
from api.schemas.common import CallbackQuery
from api.schemas.jobs import ItemOut, ItemPage, ItemsQuery, JobOut, JobPage, JobsQuery, PollQuery, item_out
from core import exports, jobs, querybatches, results, retries
from core.context import Context
from core.models import ItemOutcome, Job, JobKind, Scope
from core.ports import JobQuery

bp = APIBlueprint("jobs", __name__, tag="Jobs")

JSON = "application/json"
CSV = "text/csv"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet compute a cell instead of showing it."""


@bp.get("/jobs")
@protected(Scope.READ)
@bp.input(JobsQuery, location="query")
@bp.output(JobPage)
def list_jobs(query_data: JobsQuery) -> Response:
    """List jobs, newest first. `result` and `waiting_for` are left out here."""
    query = JobQuery(
        state=query_data.state,
        kind=query_data.kind,
        gallery_name=query_data.gallery,
        created_after=query_data.created_after,
    )
    filters = query_data.model_dump(mode="json", exclude={"page_size", "page_token"})
    after = page_key(query_data.page_token, filters)
    page = jobs.list_jobs(context(), principal(), query, size=query_data.page_size, after=after)
    items = [present(_brief(job)) for job in page.items]
    return json_reply(JobPage(items=items, next_page_token=page_token(page.next_key, filters)))


@bp.get("/jobs/<uuid:job_id>")
@protected(Scope.READ, Scope.QUERY)
@bp.input(PollQuery, location="query")
@bp.output(JobOut)
def get_job(job_id: UUID, query_data: PollQuery) -> Response:
    """Poll a job; with `wait`, until its state or stage changes."""
    ctx, who = context(), principal()
    if query_data.wait:
        with waiting():
            runtime().polls.wait(lambda: jobs.get(ctx, who, job_id), query_data.wait)
    view = jobs.view(ctx, who, job_id)
    headers = job_headers(view, now=ctx.clock.now())
    if not_modified(headers):
        return unchanged(headers)
    return json_reply(present(replace(view, job=_with_result(ctx, view.job))), headers=headers)


@bp.get("/jobs/<uuid:job_id>/items")
@protected(Scope.READ, Scope.QUERY)
@bp.input(ItemsQuery, location="query")
@bp.output(ItemPage)
def list_items(job_id: UUID, query_data: ItemsQuery) -> Response:
    """List outcomes that are not plain success. With `Accept: application/x-ndjson` or `text/csv`: all of them.

    In CSV, a cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    filters = {"job": job_id, "state": query_data.state}
    query = jobs.ItemQuery(
        outcome=query_data.state, size=query_data.page_size, after=page_key(query_data.page_token, filters)
    )
    wanted = request.accept_mimetypes.best_match([JSON, NDJSON, CSV], default=JSON)
    if wanted != JSON:
        return _export(job_id, replace(query, size=MAX_PAGE_SIZE), wanted)
    page = jobs.list_items(context(), principal(), job_id, query)
    items = [item_out(item) for item in page.items]
    return json_reply(ItemPage(items=items, next_page_token=page_token(page.next_key, filters)))


@bp.post("/jobs/<uuid:job_id>/cancel")
@protected(Scope.WRITE)
@bp.output(JobOut, 202)
@idempotent
def cancel_job(job_id: UUID) -> Response:
    """Stop a job between batches. What is done stays done; a job that has ended is returned as it is."""
    return accepted(jobs.cancel(context(), principal(), job_id))


@bp.post("/jobs/<uuid:job_id>/retry")
@protected(Scope.WRITE)
@bp.input(CallbackQuery, location="query")
@bp.output(JobOut, 202)
@idempotent
def retry_job(job_id: UUID, query_data: CallbackQuery) -> Response:
    """Import again what failed, as a new job. While a retry of the job is open, that one is returned."""
    return accepted(retries.retry(context(), principal(), job_id, callback_url=query_data.callback_url))


def _brief(job: Job) -> jobs.JobView:
    shown = replace(job, result=None) if job.kind is JobKind.QUERY else job
    return jobs.JobView(job=shown, waiting_for=None, eta_seconds=jobs.eta_seconds(job, context().clock.now()))


def _with_result(ctx: Context, job: Job) -> Job:
    """A query's stored result knows everything but its rows, an export's or a batch's everything but its URLs."""
    if job.kind is JobKind.EXPORT:
        return replace(job, result=exports.result(job, ctx))
    if job.kind is JobKind.QUERY_BATCH:
        return replace(job, result=querybatches.result(job, ctx))
    if job.kind is JobKind.QUERY:
        return replace(job, result=results.of_query(ctx, job, signed=True))
    return job


def _export(job_id: UUID, query: jobs.ItemQuery, media_type: str) -> Response:
    ctx, who = context(), principal()
    items = every(lambda after: jobs.list_items(ctx, who, job_id, replace(query, after=after or query.after)))
    lines = _csv_lines(items) if media_type == CSV else (f"{item_out(item).model_dump_json()}\n" for item in items)
    return Response(lines, mimetype=media_type, headers={"X-Content-Type-Options": "nosniff"})


def _csv_lines(items: Iterable[ItemOutcome]) -> Iterator[str]:
    columns = list(ItemOut.model_fields)
    yield _csv_line(columns)
    for item in items:
        out = item_out(item)
        yield _csv_line([str(getattr(out, column)) for column in columns])


def _csv_line(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow([f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell for cell in cells])
    return line.getvalue()
