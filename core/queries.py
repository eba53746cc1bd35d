"""Submitting a query, and reading its ranked result."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from core import galleries, jobs
from core.context import Context
from core.errors import InvalidInputError, NotFoundError
from core.filters import parse_filter
from core.ids import new_id
from core.keys import upload_key
from core.models import (
    Gallery,
    Job,
    JobKind,
    JobStage,
    NewUnit,
    Principal,
    QueryParams,
    Queue,
    RerankOptions,
    UnitKind,
)
from core.ports import UnitOfWork
from core.urls import checked_url

MAX_TOP_K = 200
REFERENCE_MEDIA_TYPE = "application/octet-stream"
STRATEGIES = ("text", "image", "sum", "slerp", "product", "intersection", "soft", "caption")


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference picture: an image of the gallery by either id, uploaded bytes, or a URL to fetch."""

    image_id: UUID | None = None
    external_id: str | None = None
    data: bytes | None = None
    url: str | None = None
    region: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class NewQuery:
    """What a client asks. `rerank` None = the default for composed queries, False = off."""

    reference: Reference | None = None
    text: str | None = None
    negative_text: str | None = None
    filter: dict[str, Any] = field(default_factory=dict)
    top_k: int = 20
    strategy: str = "intersection"
    rerank: RerankOptions | bool | None = None
    explain: bool = False
    include_reference: bool = False
    min_score: float | None = None
    group_by: str | None = None
    collapse_duplicates: bool = False
    callback_url: str | None = None


def submit(ctx: Context, principal: Principal, gallery_name: str, new: NewQuery) -> Job:
    """Store the reference, if it came with the query, and queue the search; before it the fetch, if that is a URL."""
    check(ctx, new)
    jobs.check_callback(new.callback_url)
    job_id = new_id()
    with ctx.uow(read_only=True) as uow:
        gallery = galleries.find(uow, principal, gallery_name)
        params = resolve(ctx, uow, gallery, new)
    key = upload_key(principal.tenant_id, job_id, 0)
    if new.reference and new.reference.data is not None:
        ctx.objects.put(key, new.reference.data, media_type=REFERENCE_MEDIA_TYPE)
    if new.reference and (new.reference.data is not None or new.reference.url is not None):
        params = replace(params, reference_object_key=key)
    fetched = params.reference_url is not None
    spec = jobs.JobSpec(
        kind=JobKind.QUERY,
        stage=JobStage.FETCHING if fetched else JobStage.SEARCHING,
        gallery=gallery,
        params=asdict(params),
        total=0,
        keep=timedelta(hours=ctx.settings.query_retention_hours),
        callback_url=new.callback_url,
    )
    job = jobs.new_job(ctx, principal, spec, job_id=job_id)
    return jobs.submit(ctx, job, [_reference_unit(job) if fetched else search_unit(job)])


def check(ctx: Context, new: NewQuery) -> None:
    """InvalidInputError when the query makes no sense, whatever the gallery."""
    _validate(new)
    if new.strategy == "caption" and not ctx.settings.captioner:
        raise InvalidInputError(
            "The strategy `caption` is not enabled here: use another one, or ask the operator to set SETR_CAPTIONER."
        )
    parse_filter(new.filter)


def resolve(ctx: Context, uow: UnitOfWork, gallery: Gallery, new: NewQuery) -> QueryParams:
    """What workers read of a query. NotFoundError when its reference is no image of the gallery."""
    return _with_reference(uow, gallery, new, _params(ctx, new))


def query_params(job: Job) -> QueryParams:
    """The query that a job carries."""
    return stored_query(job.params)


def stored_query(stored: Mapping[str, Any]) -> QueryParams:
    """A query that was stored as JSON."""
    raw = dict(stored)
    rerank, region = raw.pop("rerank"), raw.pop("reference_region")
    return QueryParams(
        **raw,
        rerank=RerankOptions(**rerank) if rerank else None,
        reference_region=tuple(region) if region else None,
    )


def _validate(new: NewQuery) -> None:
    if new.reference is None and not (new.text or "").strip():
        raise InvalidInputError("Send a `reference`, a `text`, or both.")
    if not 1 <= new.top_k <= MAX_TOP_K:
        raise InvalidInputError(f"`top_k` is a number from 1 to {MAX_TOP_K}.")
    if new.strategy not in STRATEGIES:
        raise InvalidInputError(f"`strategy` is one of: {', '.join(STRATEGIES)}.")
    if new.strategy == "text" and not (new.text or "").strip():
        raise InvalidInputError("The strategy `text` needs a `text`.")
    if new.strategy == "image" and new.reference is None:
        raise InvalidInputError("The strategy `image` needs a `reference`.")
    if new.reference and new.reference.url is not None:
        checked_url(new.reference.url, pointer="/reference/url")
    if new.reference and new.reference.region:
        x, y, width, height = new.reference.region
        if not (0 <= x < 1 and 0 <= y < 1 and 0 < width <= 1 - x + 1e-6 and 0 < height <= 1 - y + 1e-6):
            raise InvalidInputError("`region` is [x, y, width, height], each relative to the picture, within 0..1.")


def _params(ctx: Context, new: NewQuery) -> QueryParams:
    text = (new.text or "").strip() or None
    return QueryParams(
        text=text,
        negative_text=(new.negative_text or "").strip() or None,
        reference_url=new.reference.url if new.reference else None,
        reference_region=new.reference.region if new.reference else None,
        filter=new.filter,
        top_k=new.top_k,
        strategy=new.strategy,
        rerank=_rerank_options(ctx, new, composed=bool(text and new.reference)),
        explain=new.explain,
        include_reference=new.include_reference,
        min_score=new.min_score,
        group_by=new.group_by,
        collapse_duplicates=new.collapse_duplicates,
    )


def _rerank_options(ctx: Context, new: NewQuery, *, composed: bool) -> RerankOptions | None:
    if isinstance(new.rerank, RerankOptions):
        if not composed:
            raise InvalidInputError("`rerank` needs both a `reference` and a `text`: the judge compares the two.")
        return new.rerank
    if new.rerank is False or not composed:
        return None
    return RerankOptions(depth=ctx.settings.rerank_depth, budget_s=ctx.settings.rerank_budget_s)


def _with_reference(uow: UnitOfWork, gallery: Gallery, new: NewQuery, params: QueryParams) -> QueryParams:
    reference = new.reference
    if reference is None or reference.data is not None or reference.url is not None:
        return params
    if reference.image_id is not None:
        image = uow.images.get(gallery.id, reference.image_id)
    elif reference.external_id is not None:
        image = uow.images.find(gallery.id, reference.external_id)
    else:
        raise InvalidInputError(
            "`reference` names an `external_id`, an `image_id` or a `url`, or comes as `reference_image`."
        )
    if image is None:
        raise NotFoundError(f"The reference is not an image of gallery `{gallery.name}`; import it, or upload it.")
    return replace(params, reference_image_id=str(image.id))


def search_unit(job: Job) -> NewUnit:
    """Stage 1 of a query whose reference is at hand."""
    return _unit(job, UnitKind.SEARCH, Queue.QUERY)


def _reference_unit(job: Job) -> NewUnit:
    """The fetch of a query's reference, where no slow server can hold up models, and no import is in the way."""
    return _unit(job, UnitKind.REFERENCE, Queue.MAINTENANCE)


def _unit(job: Job, kind: UnitKind, queue: Queue) -> NewUnit:
    return NewUnit(id=new_id(), tenant_id=job.tenant_id, job_id=job.id, kind=kind, queue=queue, size=1, payload={})
