"""Generations of vectors, and what makes two vectors comparable."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

Vectors: TypeAlias = NDArray[np.float32]  # [n, d], rows L2-normalised unless said otherwise


Vector: TypeAlias = NDArray[np.float32]  # [d]


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """What makes two vectors comparable. Stored with every generation; a query with another identity is refused."""

    spec: str
    architecture: str
    weights_sha256: str
    dim: int
    preprocessing: str


class IndexState(StrEnum):
    """Life of a generation of vectors."""

    BUILDING = "building"
    READY = "ready"
    ACTIVE = "active"
    STANDBY = "standby"
    DROPPED = "dropped"


LIVE_INDEX_STATES = frozenset({IndexState.BUILDING, IndexState.READY, IndexState.ACTIVE, IndexState.STANDBY})


@dataclass(frozen=True, slots=True)
class Index:
    """One generation of vectors of a gallery. `identity` is None until a worker has loaded the encoder.

    Imports write the vectors of a generation that is `in_step` themselves; to any other they owe them.
    """

    id: UUID
    tenant_id: UUID
    gallery_id: UUID
    encoder: str
    state: IndexState
    identity: EncoderIdentity | None = None
    mean: Vector | None = None
    mean_count: int = 0
    created_at: datetime | None = None
    in_step: bool = False
    changed_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Census:
    """A generation against its gallery: vectors that are there; `missing` and `surplus` ones that nobody owes."""

    vectors: int
    missing: int
    surplus: int


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """A vector search hit: the score is the inner product with the probe."""

    image_id: UUID
    external_id: str
    score: float


class ConceptKind(StrEnum):
    """`product` concepts may be kept from a reference; `scene` concepts are what composition drops."""

    PRODUCT = "product"
    SCENE = "scene"


@dataclass(frozen=True, slots=True)
class Concepts:
    """A vocabulary in one encoder's space: terms[i] has kind kinds[i] and unit vector vectors[i]."""

    terms: tuple[str, ...]
    kinds: tuple[ConceptKind, ...]
    vectors: Vectors
