"""Use cases on galleries and single images."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, BinaryIO
from uuid import UUID

import structlog

from core import jobs
from core.context import Context
from core.deletion import remove_vectors
from core.errors import InvalidInputError, NotFoundError, PreconditionFailedError
from core.filters import Filter
from core.ids import new_id
from core.keys import blob_key, thumbnail_key
from core.models import (
    Attributes,
    Device,
    Gallery,
    Image,
    Index,
    IndexState,
    Job,
    JobKind,
    JobStage,
    NewUnit,
    Page,
    Principal,
    Queue,
    UnitKind,
)
from core.ports import UnitOfWork

log = structlog.get_logger()

DELETION_PAUSE = timedelta(hours=6)
"""How long after a failed deletion the next one begins: what made it fail may need the operator."""

SWEEP = 100
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class NewGallery:
    """What a client says about a new gallery."""

    name: str
    encoder: str | None = None
    device: Device = Device.AUTO
    attributes_schema: dict[str, str] | None = None


def create(ctx: Context, principal: Principal, new: NewGallery) -> Gallery:
    """Create a gallery with its first generation. ConflictError when the name is taken."""
    if not NAME.fullmatch(new.name):
        raise InvalidInputError("`name` takes 1 to 63 of a-z, 0-9, dot, dash and underscore, a letter or digit first.")
    encoder = listed_encoder(ctx, new.encoder or ctx.settings.default_encoder)
    now = ctx.clock.now()
    index = Index(new_id(), principal.tenant_id, new_id(), encoder, IndexState.ACTIVE, in_step=True)
    gallery = Gallery(
        id=index.gallery_id,
        tenant_id=principal.tenant_id,
        name=new.name,
        encoder=encoder,
        device=new.device,
        attributes_schema=new.attributes_schema or {},
        active_index_id=index.id,
        version=1,
        image_count=0,
        created_at=now,
        updated_at=now,
    )
    with ctx.uow() as uow:
        uow.galleries.add(gallery)
        uow.indexes.add(index)
        uow.commit()
    return gallery


def listed_encoder(ctx: Context, name: str) -> str:
    """The name itself. InvalidInputError when the operator listed no such encoder."""
    if name not in ctx.settings.encoders:
        known = ", ".join(sorted(ctx.settings.encoders))
        raise InvalidInputError(f"There is no encoder `{name}` here; the operator listed: {known}.")
    return name


def get(ctx: Context, principal: Principal, name: str) -> Gallery:
    """The tenant's gallery. NotFoundError when there is none."""
    with ctx.uow() as uow:
        return find(uow, principal, name)


def find(uow: UnitOfWork, principal: Principal, name: str, *, lock: bool = False) -> Gallery:
    """The tenant's gallery, inside a transaction."""
    gallery = uow.galleries.get(principal.tenant_id, name, lock=lock) if NAME.fullmatch(name) else None
    if gallery is None:
        raise NotFoundError(f"There is no gallery `{name}`; create it with POST /galleries.")
    return gallery


def list_page(ctx: Context, principal: Principal, *, size: int, after: str | None) -> Page[Gallery]:
    """The tenant's galleries by name."""
    with ctx.uow() as uow:
        return uow.galleries.page(principal.tenant_id, size=size, after=after)


@dataclass(frozen=True, slots=True)
class GalleryPatch:
    """What may change: None leaves a field as it is. `version` comes from If-Match."""

    device: Device | None = None
    attributes_schema: dict[str, str] | None = None
    version: int | None = None


def update(ctx: Context, principal: Principal, name: str, patch: GalleryPatch) -> Gallery:
    """Change settings of a gallery. PreconditionFailedError when If-Match is stale."""
    with ctx.uow() as uow:
        gallery = find(uow, principal, name, lock=True)
        _check_version(gallery.version, patch.version)
        changed = replace(
            gallery,
            device=patch.device or gallery.device,
            attributes_schema=(
                gallery.attributes_schema if patch.attributes_schema is None else patch.attributes_schema
            ),
        )
        uow.galleries.update(changed)
        uow.commit()
        return find(uow, principal, name)


def delete(
    ctx: Context, principal: Principal, name: str, *, version: int | None = None, callback_url: str | None = None
) -> Job:
    """Hide the gallery at once and delete it by a job."""
    with ctx.uow() as uow:
        gallery = find(uow, principal, name, lock=True)
        _check_version(gallery.version, version)
        job = _add_deletion(ctx, uow, principal, gallery, callback_url=callback_url)
        uow.galleries.update(replace(gallery, deleting=True))
        uow.commit()
    ctx.doorbell.ring(Queue.MAINTENANCE)
    return job


def resume_deletions(ctx: Context, stopping: Callable[[], bool]) -> int:
    """Queue the deletion of galleries anew whose job failed, or is gone: nobody can reach them. Returns how many."""
    with ctx.uow() as uow:
        found = _forsaken(ctx, uow)
    return sum(_resume_deletion(ctx, gallery_id) for gallery_id in found if not stopping())


def _forsaken(ctx: Context, uow: UnitOfWork) -> dict[UUID, Gallery]:
    found = uow.galleries.forsaken(before=ctx.clock.now() - DELETION_PAUSE, limit=SWEEP)
    return {gallery.id: gallery for gallery in found}


def _resume_deletion(ctx: Context, gallery_id: UUID) -> bool:
    with ctx.uow() as uow:
        uow.indexes.hold(gallery_id, alone=True)  # of two rounds at once the second finds the first one's job
        gallery = _forsaken(ctx, uow).get(gallery_id)
        if gallery is None:
            return False
        job = _add_deletion(ctx, uow, Principal.nobody(gallery.tenant_id), gallery)
        uow.commit()
    log.warning("gallery.deletion_resumed", gallery_id=str(gallery_id), job_id=str(job.id))
    ctx.doorbell.ring(Queue.MAINTENANCE)
    return True


def _add_deletion(
    ctx: Context, uow: UnitOfWork, principal: Principal, gallery: Gallery, *, callback_url: str | None = None
) -> Job:
    spec = jobs.JobSpec(
        kind=JobKind.DELETE,
        stage=JobStage.FINISHING,
        gallery=gallery,
        total=gallery.image_count,
        callback_url=callback_url,
    )
    job = jobs.new_job(ctx, principal, spec)
    uow.jobs.add(job)
    uow.units.add([_delete_unit(job, gallery)])
    return job


def _delete_unit(job: Job, gallery: Gallery) -> NewUnit:
    return NewUnit(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=UnitKind.DELETE_GALLERY,
        queue=Queue.MAINTENANCE,
        size=1,
        payload={"gallery_id": str(gallery.id)},
    )


def _check_version(current: int, expected: int | None) -> None:
    if expected is not None and expected != current:
        raise PreconditionFailedError("It changed since you read it; GET it again and repeat your change.")


@dataclass(frozen=True, slots=True)
class ImageQuery:
    """Which images of a gallery to list."""

    size: int
    after: str | None = None
    where: Filter | None = None
    external_id: str | None = None


def list_images(ctx: Context, principal: Principal, name: str, query: ImageQuery) -> Page[Image]:
    """Images of a gallery."""
    with ctx.uow() as uow:
        gallery = find(uow, principal, name)
        return uow.images.page(
            gallery.id, size=query.size, after=query.after, where=query.where, external_id=query.external_id
        )


def get_image(ctx: Context, principal: Principal, name: str, image_id: UUID) -> Image:
    """One image. NotFoundError when the gallery has none of that id."""
    with ctx.uow() as uow:
        return _find_image(uow, find(uow, principal, name), image_id)


def _find_image(uow: UnitOfWork, gallery: Gallery, image_id: UUID, *, lock: bool = False) -> Image:
    image = uow.images.get(gallery.id, image_id, lock=lock)
    if image is None:
        raise NotFoundError(f"Gallery `{gallery.name}` has no image {image_id}.")
    return image


def image_content(ctx: Context, image: Image) -> BinaryIO:
    """The picture as uploaded: a file to read and close."""
    return ctx.objects.open(blob_key(image.tenant_id, image.blob.sha256))


def image_thumbnail(ctx: Context, image: Image) -> bytes:
    """The thumbnail's bytes (JPEG)."""
    return ctx.objects.get(thumbnail_key(image.tenant_id, image.blob.sha256))


@dataclass(frozen=True, slots=True)
class AttributesPatch:
    """JSON merge patch of attributes (null removes one). `version` comes from If-Match."""

    attributes: dict[str, Any]
    version: int | None = None


def patch_image(ctx: Context, principal: Principal, name: str, image_id: UUID, *, patch: AttributesPatch) -> Image:
    """Change attributes of an image; never embeds again."""
    with ctx.uow() as uow:
        image = _find_image(uow, find(uow, principal, name), image_id, lock=True)
        _check_version(image.version, patch.version)
        merged: Attributes = {**image.attributes, **patch.attributes}
        kept = {key: value for key, value in merged.items() if value is not None}
        changed = uow.images.patch_attributes(image.id, kept)
        uow.commit()
    return changed


def delete_image(ctx: Context, principal: Principal, name: str, image_id: UUID, *, version: int | None) -> None:
    """Delete an image and its vectors in one transaction."""
    with ctx.uow() as uow:
        gallery = find(uow, principal, name)
        uow.indexes.hold(gallery.id)
        image = _find_image(uow, gallery, image_id, lock=True)
        _check_version(image.version, version)
        remove_vectors(uow, gallery.id, [image.id])
        uow.images.remove(gallery.id, [image.id])
        uow.commit()
