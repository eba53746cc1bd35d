"""The results of queries as JSON: what a client reads, a webhook carries, and a line of a batch holds."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from core.context import Context
from core.keys import blob_key, thumbnail_key
from core.models import Candidate, Image, Job

_SPARE = 2
"""Times as many candidates as results are looked up: some of the images may be gone."""


def of_query(ctx: Context, job: Job, *, signed: bool) -> dict[str, Any] | None:
    """A query's result, provisional until it ended; with `signed`, its pictures have short-lived URLs."""
    if job.result is None:
        return None
    top_k = int(job.params["top_k"])
    with ctx.uow(read_only=True) as uow:
        shown = passing(uow.candidates.list(job.id), top_k=top_k, min_score=job.params["min_score"])
        images = uow.images.many([candidate.image_id for candidate in shown])
    found = rows(shown, images, top_k=top_k)
    linked = [{**row, **_urls(ctx, images[UUID(row["image_id"])], signed=signed)} for row in found]
    return with_rows(job.result, linked)


def with_rows(facts: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the stages said about a query, and its rows."""
    return {
        "reranked": facts.get("reranked", False),
        "provisional": facts.get("provisional", False),
        "reason": facts.get("reason"),
        "strategy": facts.get("strategy", ""),
        "index_id": facts.get("index_id"),
        "timings_ms": facts.get("timings_ms") or {},
        "results": found,
        "explanation": facts.get("explanation"),
    }


def passing(candidates: Iterable[Candidate], *, top_k: int, min_score: float | None) -> list[Candidate]:
    """Candidates, best first, that may become results."""
    return list(islice((one for one in candidates if min_score is None or one.score >= min_score), _SPARE * top_k))


def rows(candidates: Iterable[Candidate], images: Mapping[UUID, Image], *, top_k: int) -> list[dict[str, Any]]:
    """The result rows of candidates whose images are there."""
    there = islice((one for one in candidates if one.image_id in images), top_k)
    return [_row(found, images[found.image_id], rank) for rank, found in enumerate(there, start=1)]


def _row(found: Candidate, image: Image, rank: int) -> dict[str, Any]:
    return {
        "rank": rank,
        "image_id": str(found.image_id),
        "external_id": found.external_id,
        "score": found.score,
        "coarse": {"rank": found.coarse_rank, "score": found.coarse_score},
        "rerank": None if found.p_yes is None else {"p_yes": found.p_yes},
        "group": found.group,
        "group_images": found.group_images,
        "duplicates": found.duplicates,
        "attributes": image.attributes,
    }


def _urls(ctx: Context, image: Image, *, signed: bool) -> dict[str, str | None]:
    if not signed:
        return {"image_url": None, "thumbnail_url": None}
    sha256, expires = image.blob.sha256, timedelta(seconds=ctx.settings.presigned_ttl_s)
    return {
        "image_url": ctx.objects.presign_get(blob_key(image.tenant_id, sha256), expires=expires),
        "thumbnail_url": ctx.objects.presign_get(thumbnail_key(image.tenant_id, sha256), expires=expires),
    }
