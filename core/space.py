"""What a query needs to know of a generation besides its vectors: how many there are, their mean, and the concepts."""

import threading
import time
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from core.context import Context
from core.models import ConceptKind, Concepts, Index, Vector
from core.ports import Composer, Encoder, UnitOfWork

MEAN_SAMPLE = 10_000
CONCEPT_MAX_WORDS = 3
CONCEPTS_PER_ATTRIBUTE = 500
REFRESH_AFTER_S = 60.0


@dataclass(frozen=True, slots=True)
class Space:
    """Facts of one generation. `mean` [d] is None for an empty one."""

    count: int
    mean: Vector | None
    concepts: Concepts


class Spaces:
    """Spaces of recently queried generations, reread once a minute."""

    def __init__(self, ctx: Context, composer: Composer) -> None:
        self._ctx = ctx
        self._composer = composer
        self._lock = threading.Lock()
        self._known: dict[UUID, tuple[float, Space]] = {}

    def get(self, index: Index, encoder: Encoder) -> Space:
        """The generation's space, at most a minute old; an empty one is never remembered."""
        with self._lock:
            read_at_s, space = self._known.get(index.id, (0.0, None))
            if space is None or time.monotonic() - read_at_s > REFRESH_AFTER_S:
                space = self._read(index, encoder)
                if space.count:
                    self._known[index.id] = (time.monotonic(), space)
            return space

    def _read(self, index: Index, encoder: Encoder) -> Space:
        with self._ctx.uow() as uow:
            count = uow.vectors.count(index.id)
            mean = _mean(uow, index, count)
            concepts = self._concepts(uow, index, encoder)
            uow.commit()
        return Space(count=count, mean=mean, concepts=concepts)

    def _concepts(self, uow: UnitOfWork, index: Index, encoder: Encoder) -> Concepts:
        wanted = self._vocabulary(uow, index.gallery_id)
        stored = uow.concepts.load(index.id)
        if stored is not None and (stored.terms, stored.kinds) == (tuple(wanted), tuple(wanted.values())):
            return stored
        known = dict(zip(stored.terms, stored.vectors, strict=True)) if stored is not None else {}
        fresh = [term for term in wanted if term not in known]
        known.update(zip(fresh, encoder.encode_texts(fresh), strict=True))
        concepts = Concepts(
            terms=tuple(wanted),
            kinds=tuple(wanted.values()),
            vectors=np.stack([known[term] for term in wanted]).astype(np.float32),
        )
        uow.concepts.replace(index.id, concepts)
        return concepts

    def _vocabulary(self, uow: UnitOfWork, gallery_id: UUID) -> dict[str, ConceptKind]:
        """The catalog's own attribute words, or a general vocabulary when it has none; scenes as contrast."""
        general = self._composer.general_vocabulary()
        by_attribute = uow.images.terms(gallery_id, max_words=CONCEPT_MAX_WORDS, max_values=CONCEPTS_PER_ATTRIBUTE)
        own = sorted({term.lower() for terms in by_attribute.values() for term in terms})
        products = own or general[ConceptKind.PRODUCT]
        scenes = dict.fromkeys(general[ConceptKind.SCENE], ConceptKind.SCENE)
        return scenes | dict.fromkeys(products, ConceptKind.PRODUCT)


def _mean(uow: UnitOfWork, index: Index, count: int) -> Vector | None:
    """The stored mean; computed anew when the generation has doubled since, so that scores stay put between queries."""
    if index.mean is not None and count < 2 * max(index.mean_count, 1):
        return index.mean
    computed = uow.vectors.mean(index.id, sample=MEAN_SAMPLE)
    if computed is None:
        return None
    mean, _ = computed
    uow.indexes.set_mean(index.id, mean, count)
    return mean
