"""Imports run in one process: real Postgres and S3, the real handlers, and an encoder that looks at the mean colour."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

import numpy as np
from PIL import Image
from PIL.Image import Image as Picture
from sqlalchemy import Engine, text

from core import durable, imports, jobs, retries
from core.context import Context
from core.durable import Handler, WorkerSlot
from core.embedder import Embedder
from core.embedding import EmbedHandler
from core.galleries import NewGallery, create
from core.ids import new_id
from core.imports import NewImport, UploadedFile
from core.ingest import FetchHandler
from core.mirror import SweepHandler
from core.models import EncoderIdentity, Gallery, ItemOutcome, Job, Principal, Queue, Scope, UnitKind, Vectors
from core.planning import PlanHandler
from core.reading import Remotes

QUEUES = (Queue.INGEST, Queue.EMBED)


class MeanColour:
    """Encoder and registry in one."""

    identity = EncoderIdentity("mean-colour", "none", "0" * 64, 3, "none")
    image_size_px = 8
    max_text_tokens = 8

    def get(self, name: str) -> "MeanColour":
        del name
        return self

    def fit(self, picture: Picture) -> Picture:
        return picture

    def encode_images(self, pictures: Sequence[Picture]) -> Vectors:
        means = [np.asarray(picture, np.float32).mean(axis=(0, 1)) + 1 for picture in pictures]
        found = np.asarray(means, np.float32).reshape(-1, 3)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found / lengths, np.float32)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        raise NotImplementedError

    def is_cut(self, text: str) -> bool:
        raise NotImplementedError


def picture(colour: str, *, side_px: int = 16) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (side_px, side_px), colour).save(target, "PNG")
    return target.getvalue()


def jsonl(*rows: Mapping[str, object]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@dataclass
class Shop:
    """A tenant with one gallery, and the workers that serve it."""

    ctx: Context
    engine: Engine
    principal: Principal
    gallery: Gallery
    handlers: dict[UnitKind, Handler] = field(default_factory=dict)
    queues: tuple[Queue, ...] = QUEUES

    def __post_init__(self) -> None:
        encoder = MeanColour()
        # Nothing here comes from elsewhere, so there are no buckets and no web.
        self.handlers = {
            UnitKind.PLAN: PlanHandler(self.ctx, cast("Remotes", None)),
            UnitKind.FETCH: FetchHandler(self.ctx, cast("Remotes", None)),
            UnitKind.EMBED: EmbedHandler(self.ctx, encoder, Embedder(self.ctx)),
            UnitKind.SWEEP: SweepHandler(self.ctx),
        }

    def submit(self, files: Mapping[str, bytes], *, mode: str = "upsert", share: float | None = None) -> UUID:
        uploads = [UploadedFile(name, io.BytesIO(data), "") for name, data in files.items()]
        new = NewImport(self.gallery.name, uploads, mode=mode, max_delete_share=share)
        return imports.submit(self.ctx, self.principal, new).id

    def mirror(self, files: Mapping[str, bytes], *, share: float | None = None) -> UUID:
        return self.submit(files, mode="mirror", share=share)

    def run_one(self) -> bool:
        return durable.run_one(self.ctx, self.handlers, WorkerSlot("worker", self.queues, lambda: False, lambda: None))

    def run(self) -> None:
        """Until no unit is due. Whatever is seen meanwhile must add up."""
        while self.run_one():
            self.check_sums()

    def check_sums(self) -> None:
        with self.engine.connect() as connection:
            broken = connection.execute(
                text("SELECT count(*) FROM jobs WHERE total < created + updated + unchanged + deleted + failed")
            ).scalar_one()
        assert broken == 0

    def ended(self, job_id: UUID) -> Job:
        self.run()
        job = self.job(job_id)
        assert job.state in jobs.TERMINAL, job
        assert job.counters.pending == 0
        return job

    def imported(self, files: Mapping[str, bytes], *, mode: str = "upsert", share: float | None = None) -> Job:
        return self.ended(self.submit(files, mode=mode, share=share))

    def retry(self, job_id: UUID) -> Job:
        return retries.retry(self.ctx, self.principal, job_id)

    def job(self, job_id: UUID) -> Job:
        return jobs.get(self.ctx, self.principal, job_id)

    def items(self, job_id: UUID) -> dict[str, tuple[str, str]]:
        """Outcome and code by external id."""
        with self.ctx.uow() as uow:
            page = uow.items.page(job_id, outcome=None, size=1000, after=None)
        return {item.external_id: (item.outcome.value, item.code) for item in page.items}

    def failed(self, job_id: UUID) -> tuple[ItemOutcome, ...]:
        with self.ctx.uow() as uow:
            return uow.items.page(job_id, outcome=None, size=1000, after=None).items

    def contents(self) -> dict[str, bytes]:
        """Every image's bytes by external id, checked: as many vectors as images, and the count that clients see."""
        from core.keys import blob_key

        with self.ctx.uow() as uow:
            images = uow.images.page(self.gallery.id, size=1000, after=None, where=None, external_id=None).items
            gallery = uow.galleries.by_id(self.gallery.id)
            (index,) = uow.indexes.live(self.gallery.id)
            vectors = uow.vectors.fetch(index.id, [image.id for image in images])
            assert uow.vectors.count(index.id) == len(images)
        assert gallery is not None
        assert gallery.image_count == len(images)
        assert set(vectors) == {image.id for image in images}
        return {
            image.external_id: self.ctx.objects.get(blob_key(image.tenant_id, image.blob.sha256)) for image in images
        }

    def hold(self, job_id: UUID, *, kind: UnitKind | None = None) -> None:
        """Nobody works on the job's pending units (of a kind) until it is let go."""
        self._due(job_id, "3000-01-01", kind)

    def let_go(self, job_id: UUID) -> None:
        self._due(job_id, "now", None)

    def _due(self, job_id: UUID, moment: str, kind: UnitKind | None) -> None:
        statement = (
            "UPDATE work_units SET not_before = CAST(:moment AS timestamptz) WHERE job_id = :job_id "
            "AND state = 'pending' AND not_before <> '9999-01-01+00' AND coalesce(:kind, kind) = kind"
        )
        with self.engine.begin() as connection:
            connection.execute(text(statement), {"job_id": job_id, "moment": moment, "kind": kind})


def open_shop(ctx: Context, engine: Engine, tenant_id: UUID) -> Shop:
    principal = Principal(tenant_id=tenant_id, key_id=new_id(), scopes=frozenset(Scope))
    gallery = create(ctx, principal, NewGallery("summer"))
    return Shop(ctx, engine, principal, gallery)
