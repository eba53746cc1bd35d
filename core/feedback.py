"""Relevance judgements of query results: what training makes triplets of."""

from collections.abc import Mapping
from uuid import UUID

from core import galleries, jobs
from core.context import Context
from core.errors import ConflictError, FieldError, InvalidInputError, NotFoundError
from core.ids import new_id
from core.jobs import TERMINAL
from core.models import Feedback, Gallery, Job, JobKind, Kept, Page, Principal
from core.ports import FeedbackQuery, UnitOfWork
from core.queries import query_params

MAX_JUDGMENTS = 500


def keep(ctx: Context, principal: Principal, job_id: UUID, judgments: Mapping[str, bool]) -> tuple[Kept, bool]:
    """Store whether images, by external id, answer a finished query; and whether these make triplets.

    ConflictError when the job has no ranked results, NotFoundError when it or its gallery is gone, InvalidInputError
    when something is no image of that gallery: then nothing is stored.
    """
    with ctx.uow() as uow:
        job = jobs.find(uow, principal, job_id)
        _check_ranked(job)
        gallery = _searched(uow, job)
        _check_images(uow, gallery, judgments)
        reference, text = _reference(uow, gallery, job), query_params(job).text
        now = ctx.clock.now()
        judged = [
            Feedback(new_id(), gallery.tenant_id, gallery.id, job.id, name, reference, text, relevant, now)
            for name, relevant in judgments.items()
        ]
        kept = uow.feedback.keep(judged)
        uow.commit()
    return kept, all(one.is_triplet for one in judged)


def list_page(ctx: Context, principal: Principal, gallery_name: str, query: FeedbackQuery) -> Page[Feedback]:
    """Judgements of a gallery's images, in the order in which people judged."""
    with ctx.uow(read_only=True) as uow:
        gallery = galleries.find(uow, principal, gallery_name)
        return uow.feedback.page(gallery.id, query)


def _check_ranked(job: Job) -> None:
    if job.kind is not JobKind.QUERY:
        raise ConflictError(
            f"A job of the kind `{job.kind}` has no ranked results; judge those of a single query"
            " (POST /galleries/{gallery}/queries)."
        )
    if job.state not in TERMINAL:
        raise ConflictError("The query still runs, so its order may change; judge its results when it has ended.")
    if job.result is None:
        raise ConflictError(f"The query ended as `{job.state}` and has no results; send it again.")


def _searched(uow: UnitOfWork, job: Job) -> Gallery:
    gallery = uow.galleries.by_id(job.gallery_id) if job.gallery_id else None
    if gallery is None or gallery.deleting:
        raise NotFoundError("The gallery that was searched has been deleted, and its feedback with it.")
    return gallery


def _check_images(uow: UnitOfWork, gallery: Gallery, judgments: Mapping[str, bool]) -> None:
    known = uow.images.current(gallery.id, list(judgments))
    errors = tuple(
        FieldError(f"/judgments/{number}/external_id", f"is no image of gallery `{gallery.name}`: {name}")
        for number, name in enumerate(judgments)
        if name not in known
    )
    if errors:
        raise InvalidInputError(
            f"{len(errors)} of the judged images are not in gallery `{gallery.name}`, so nothing was stored;"
            " leave these out.",
            errors=errors,
        )


def _reference(uow: UnitOfWork, gallery: Gallery, job: Job) -> str | None:
    """A shopper's own picture is none: it is deleted with the query, and so is what a URL showed."""
    params = query_params(job)
    if params.reference_image_id is None or params.reference_region is not None:
        return None
    image = uow.images.get(gallery.id, UUID(params.reference_image_id))
    return None if image is None else image.external_id
