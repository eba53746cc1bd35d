"""Generations of vectors in SQL."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from core.filters import Filter
from core.models import Concepts, EncoderIdentity, Index, IndexState, ScoredImage, Vector, Vectors


class Indexes(Protocol):
    """Generations of vectors."""

    def add(self, index: Index) -> None:
        """Insert."""
        ...

    def get(self, index_id: UUID) -> Index | None:
        """One generation."""
        ...

    def live(self, gallery_id: UUID) -> tuple[Index, ...]:
        """Every generation of the gallery that is not dropped, oldest first."""
        ...

    def set_identity(self, index_id: UUID, identity: EncoderIdentity) -> EncoderIdentity:
        """Set the identity if it is still unset; returns the one that holds (the first writer's)."""
        ...

    def set_mean(self, index_id: UUID, mean: Vector, count: int) -> None:
        """Store the mean vector and how many vectors it was computed from."""
        ...

    def set_state(self, index_id: UUID, state: IndexState) -> None:
        """Write the state."""
        ...


class VectorIndex(Protocol):
    """Vectors of generations, half precision, inner product. One table per generation; joined with live images."""

    def ensure(self, index_id: UUID, dim: int) -> None:
        """Create the generation's table if missing; safe when called by two workers at once."""
        ...

    def upsert(self, index_id: UUID, image_ids: Sequence[UUID], vectors: Vectors) -> None:
        """Write unit vectors [n, d]. The HNSW index comes when the generation outgrows exact search."""
        ...

    def remove(self, index_id: UUID, image_ids: Sequence[UUID]) -> None:
        """Delete vectors; absent ones are no error, nor is a generation without a table."""
        ...

    def fetch(self, index_id: UUID, image_ids: Sequence[UUID]) -> dict[UUID, Vector]:
        """Stored vectors of those ids that have one."""
        ...

    def search(
        self, index_id: UUID, probe: Vector, *, limit: int, where: Filter | None, exact: bool
    ) -> tuple[ScoredImage, ...]:
        """Highest inner products first, ties by image id. `exact` scans; else HNSW with iterative scan."""
        ...

    def mean(self, index_id: UUID, *, sample: int) -> tuple[Vector, int] | None:
        """Mean of up to `sample` vectors and how many it took; None when there is none."""
        ...

    def count(self, index_id: UUID) -> int:
        """Vectors of the generation, counted one by one; 0 when it has no table yet."""
        ...

    def drop(self, index_id: UUID) -> None:
        """Drop the generation's table if it is there."""
        ...


class ConceptStore(Protocol):
    """The vocabulary of a generation."""

    def replace(self, index_id: UUID, concepts: Concepts) -> None:
        """Store exactly these concepts."""
        ...

    def load(self, index_id: UUID) -> Concepts | None:
        """The stored concepts, or None."""
        ...
