"""Rows for tests: whatever a test does not care about has a value already."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import numpy as np

from core.ids import new_id
from core.models import (
    Attributes,
    Blob,
    Counters,
    Device,
    EncoderIdentity,
    Gallery,
    ImageDraft,
    Index,
    IndexState,
    Job,
    JobKind,
    JobStage,
    JobState,
    NewUnit,
    Queue,
    UnitKind,
    Vector,
)
from core.ports import UnitOfWork, UnitOfWorkFactory

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LEASE = timedelta(seconds=20)


def blob(name: str = "picture") -> Blob:
    return Blob(sha256(name.encode()).hexdigest(), 1000, 30, 40, "image/jpeg")


def draft(external_id: str, attributes: Attributes | None = None) -> ImageDraft:
    return ImageDraft(external_id, blob(), attributes or {})


def gallery(tenant_id: UUID, name: str = "summer", **changes: Any) -> Gallery:
    made = Gallery(
        id=new_id(),
        tenant_id=tenant_id,
        name=name,
        encoder="demo",
        device=Device.AUTO,
        attributes_schema={"price": "number"},
        active_index_id=None,
        version=1,
        image_count=0,
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(made, **changes)


def index(of: Gallery, **changes: Any) -> Index:
    made = Index(id=new_id(), tenant_id=of.tenant_id, gallery_id=of.id, encoder="demo", state=IndexState.BUILDING)
    return replace(made, **changes)


def job(tenant_id: UUID, **changes: Any) -> Job:
    made = Job(
        id=new_id(),
        tenant_id=tenant_id,
        kind=JobKind.IMPORT,
        state=JobState.QUEUED,
        stage=JobStage.PLANNING,
        gallery_id=None,
        gallery_name=None,
        params={},
        counters=Counters(),
        result=None,
        error=None,
        warnings=(),
        version=1,
        created_at=NOW,
        started_at=None,
        finished_at=None,
        expires_at=NOW + timedelta(days=30),
    )
    return replace(made, **changes)


def unit(of: Job, **changes: Any) -> NewUnit:
    made = NewUnit(
        id=new_id(), tenant_id=of.tenant_id, job_id=of.id, kind=UnitKind.FETCH, queue=Queue.INGEST, size=10, payload={}
    )
    return replace(made, **changes)


def add_tenant(uow_factory: UnitOfWorkFactory, name: str = "shop") -> UUID:
    with uow_factory() as uow:
        tenant_id = uow.api_keys.add_tenant(name)
        uow.commit()
    return tenant_id


def add_job(uow_factory: UnitOfWorkFactory, tenant_id: UUID, *, units: int = 0, **changes: Any) -> Job:
    with uow_factory() as uow:
        made = job(tenant_id, **changes)
        uow.jobs.add(made)
        uow.units.add([unit(made) for _ in range(units)])
        uow.commit()
    return made


def add_gallery(uow_factory: UnitOfWorkFactory, tenant_id: UUID, name: str = "summer") -> Gallery:
    """A gallery whose tenant has the one blob that all drafts use."""
    with uow_factory() as uow:
        made = gallery(tenant_id, name)
        uow.galleries.add(made)
        uow.blobs.add(tenant_id, [blob()])
        uow.commit()
    return made


def add_images(
    uow_factory: UnitOfWorkFactory, to: Gallery, external_ids: Sequence[str], attributes: Sequence[Attributes] = ()
) -> dict[str, UUID]:
    with uow_factory() as uow:
        ids = upsert_images(uow, to, external_ids, attributes)
        uow.commit()
    return ids


def add_active_index(
    uow_factory: UnitOfWorkFactory, of: Gallery, identity: EncoderIdentity, vectors: Mapping[UUID, Vector]
) -> None:
    """The gallery's active index, with vectors float32 [d] by image id."""
    made = index(of)
    with uow_factory() as uow:
        uow.indexes.add(made)
        uow.indexes.set_identity(made.id, identity)
        uow.vectors.ensure(made.id, identity.dim)
        uow.vectors.upsert(made.id, list(vectors), np.stack(list(vectors.values())))
        uow.galleries.update(replace(of, active_index_id=made.id))
        uow.commit()


def upsert_images(
    uow: UnitOfWork, to: Gallery, external_ids: Sequence[str], attributes: Sequence[Attributes] = ()
) -> dict[str, UUID]:
    values = attributes or [{} for _ in external_ids]
    drafts = [draft(name, value) for name, value in zip(external_ids, values, strict=True)]
    return {name: written.image_id for name, written in uow.images.upsert(to, drafts, job_id=new_id()).items()}
