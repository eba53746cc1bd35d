"""A shop that re-indexes: two encoders, all handlers, and a check of every generation against the truth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import numpy as np
from PIL.Image import Image as Picture
from sqlalchemy import Engine, text

from core import generations
from core.context import Context
from core.durable import Handler
from core.embedder import Embedder
from core.embedding import EmbedHandler
from core.errors import ModelLoadError
from core.generations import Activation, NewIndex
from core.keys import blob_key
from core.models import EncoderIdentity, Gallery, Image, Index, IndexState, Queue, UnitKind, Vector, Vectors
from core.pictures import decode
from core.ports import Composer, Encoder
from core.reindexing import ReembedHandler, ReindexHandler
from core.verification import VerifyHandler
from tests.integration.core.importing import MeanColour, Shop, open_shop

QUEUES = (Queue.INGEST, Queue.EMBED, Queue.MAINTENANCE)
SAME = 0.999


class Darkness(MeanColour):
    """Another encoder of another dimension: the mean colour, and how dark it is."""

    identity = EncoderIdentity("darkness", "none", "1" * 64, 4, "none")

    def encode_images(self, pictures: Sequence[Picture]) -> Vectors:
        means = np.asarray([np.asarray(each, np.float32).mean(axis=(0, 1)) + 1 for each in pictures], np.float32)
        found = np.concatenate([means.reshape(-1, 3), 256 - means.reshape(-1, 3).mean(axis=1, keepdims=True)], axis=1)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        return np.eye(len(texts), 4, dtype=np.float32)


@dataclass
class Registry:
    """Encoders by name; those that are `gone` cannot be loaded. `before` happens before pictures are encoded."""

    encoders: dict[str, Encoder]
    gone: set[str] = field(default_factory=set)
    before: Callable[[], None] | None = None

    def get(self, name: str) -> Encoder:
        if name in self.gone:
            raise ModelLoadError(f"The encoder {name} cannot be loaded.")
        return cast("Encoder", Watched(self, self.encoders[name]))


@dataclass(frozen=True)
class Watched:
    registry: Registry
    encoder: Encoder

    def encode_images(self, pictures: Sequence[Picture]) -> Vectors:
        if self.registry.before is not None:
            self.registry.before()
        return self.encoder.encode_images(pictures)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)


class Colours(MeanColour):
    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        return np.eye(len(texts), 3, dtype=np.float32)


@dataclass
class Library:
    """The shop, and what it takes to re-index it."""

    shop: Shop
    registry: Registry

    @property
    def ctx(self) -> Context:
        return self.shop.ctx

    @property
    def engine(self) -> Engine:
        return self.shop.engine

    def reindex(self, encoder: str = "dark", *, activate: Activation = Activation.WHEN_READY) -> UUID:
        new = NewIndex(self.shop.gallery.name, encoder, activate)
        return generations.submit(self.ctx, self.shop.principal, new).id

    def built(self, encoder: str = "dark", *, activate: Activation = Activation.WHEN_READY) -> UUID:
        """A generation that a re-index has finished."""
        job = self.shop.ended(self.reindex(encoder, activate=activate))
        assert job.result is not None, job
        return UUID(job.result["index_id"])

    def step(self) -> bool:
        return self.shop.run_one()

    def steps_until(self, job_id: UUID, kind: UnitKind) -> None:
        """Run units until one of this kind is the next of the job."""
        while kind not in self.open_kinds(job_id):
            assert self.step()

    def open_kinds(self, job_id: UUID) -> frozenset[UnitKind]:
        with self.ctx.uow() as uow:
            return uow.units.open_kinds(job_id)

    def activate(self, index_id: UUID) -> None:
        generations.activate(self.ctx, self.shop.principal, self.shop.gallery.name, index_id)

    def retire(self, index_id: UUID) -> None:
        generations.retire(self.ctx, self.shop.principal, self.shop.gallery.name, index_id)

    def gallery(self) -> Gallery:
        with self.ctx.uow() as uow:
            found = uow.galleries.by_id(self.shop.gallery.id)
        assert found is not None
        return found

    def states(self) -> dict[str, list[str]]:
        """States of the gallery's generations by encoder."""
        found: dict[str, list[str]] = {}
        with self.ctx.uow() as uow:
            for index in uow.indexes.every(self.shop.gallery.id):
                found.setdefault(index.encoder, []).append(index.state.value)
        return found

    def pending(self, index_id: UUID) -> int:
        with self.ctx.uow() as uow:
            return uow.pending.count(index_id)

    def images(self) -> tuple[Image, ...]:
        with self.ctx.uow() as uow:
            return uow.images.page(self.shop.gallery.id, size=1000, after=None, where=None, external_id=None).items

    def check(self) -> None:
        """Every vector that is there is that of the present picture; every image that has none is owed it."""
        with self.ctx.uow() as uow:
            uow.indexes.hold(self.shop.gallery.id, alone=True)
            images = uow.images.page(self.shop.gallery.id, size=1000, after=None, where=None, external_id=None).items
            for index in uow.indexes.live(self.shop.gallery.id):
                vectors = uow.vectors.fetch(index.id, [image.id for image in images])
                assert uow.vectors.count(index.id) == len(vectors), "a vector of an image that is gone"
                fresh = self._embedded(index, images)
                wrong = [i.external_id for i in images if i.id in vectors and vectors[i.id] @ fresh[i.id] < SAME]
                assert wrong == [], f"stale in {index.encoder}"
                if index.state is IndexState.ACTIVE:
                    assert len(vectors) == len(images)
                elif index.in_step or vectors:
                    census = uow.vectors.census(index.id)
                    assert (census.missing, census.surplus) == (0, 0)

    def _embedded(self, index: Index, images: Sequence[Image]) -> dict[UUID, Vector]:
        encoder = self.registry.encoders[index.encoder]
        data = [self.ctx.objects.get(blob_key(image.tenant_id, image.blob.sha256)) for image in images]
        vectors = encoder.encode_images([decode(each, max_side_px=16) for each in data])
        return dict(zip((image.id for image in images), vectors, strict=True))

    def die(self) -> None:
        """What the death of all workers leaves: leases that run out."""
        with self.engine.begin() as connection:
            connection.execute(
                text("UPDATE work_units SET lease_until = now() - interval '1 s' WHERE state = 'running'")
            )
        with self.ctx.uow() as uow:
            assert uow.units.free_expired()
            uow.commit()


def open_library(ctx: Context, engine: Engine, tenant_id: UUID) -> Library:
    encoders: dict[str, Encoder] = {"demo": Colours(), "dark": Darkness()}
    ctx = replace(ctx, settings=ctx.settings.model_copy(update={"encoders": {"demo": "demo", "dark": "demo"}}))
    shop = open_shop(ctx, engine, tenant_id)
    registry, embedder = Registry(encoders), Embedder(ctx)
    composer = cast("Composer", SimpleNamespace(general_vocabulary=lambda: {"product": ("dress",), "scene": ("snow",)}))
    handlers: dict[UnitKind, Handler] = {
        UnitKind.EMBED: EmbedHandler(ctx, registry, embedder),
        UnitKind.REEMBED: ReembedHandler(ctx, registry, embedder),
        UnitKind.VERIFY: VerifyHandler(ctx, registry, embedder, composer),
        UnitKind.REINDEX: ReindexHandler(ctx),
    }
    shop.handlers |= handlers
    shop.queues = QUEUES
    return Library(shop, registry)
