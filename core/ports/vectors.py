"""Generations of vectors in SQL."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from core.filters import Filter
from core.models import Census, Concepts, EncoderIdentity, Index, IndexState, ScoredImage, Vector, Vectors


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

    def every(self, gallery_id: UUID) -> tuple[Index, ...]:
        """The dropped ones too."""
        ...

    def hold(self, gallery_id: UUID, *, alone: bool = False) -> None:
        """Keep the states of the gallery's generations as they are until this transaction ends.

        Who writes or deletes images takes this first, before any image's row, and only then reads `live`. Who changes
        a state takes it `alone`: it waits until nobody else has it.
        """
        ...

    def set_identity(self, index_id: UUID, identity: EncoderIdentity) -> EncoderIdentity:
        """Set the identity if it is still unset; returns the one that holds (the first writer's)."""
        ...

    def set_mean(self, index_id: UUID, mean: Vector, count: int) -> None:
        """Store the mean vector and how many vectors it was computed from."""
        ...

    def set_state(self, index_id: UUID, state: IndexState) -> None:
        """Write the state, and since when it is so."""
        ...

    def touch(self, index_id: UUID) -> None:
        """Somebody wants it again: it is as if its state began now."""
        ...

    def set_in_step(self, index_id: UUID) -> None:
        """From now on imports write its vectors themselves."""
        ...

    def outlived(self, *, before: datetime, limit: int) -> tuple[Index, ...]:
        """Generations that stand by since before that moment, and half-made ones of then that no job works on."""
        ...

    def unread(self, *, limit: int) -> tuple[UUID, ...]:
        """Dropped generations whose vectors are still there, and whose last readers have ended."""
        ...


class PendingVectors(Protocol):
    """Vectors that generations are owed: images that have none there, although they should. See docs/adr/0021."""

    def add(self, index_id: UUID, image_ids: Sequence[UUID]) -> None:
        """Owe these; some may be owed already."""
        ...

    def remove(self, index_id: UUID, image_ids: Sequence[UUID]) -> None:
        """These are there now, or not wanted any more."""
        ...

    def clear(self, index_id: UUID) -> None:
        """Nothing is owed any more."""
        ...

    def count(self, index_id: UUID, *, besides: UUID | None = None) -> int:
        """How many are owed, leaving out images that failed in the job `besides`."""
        ...

    def page(self, index_id: UUID, *, after: UUID | None, until: UUID, limit: int, besides: UUID) -> tuple[UUID, ...]:
        """The first of those with ids beyond `after` and up to `until`, by id, without those that failed."""
        ...

    def cut(self, index_id: UUID, *, every: int, besides: UUID) -> tuple[UUID, ...]:
        """Cut what is owed, by id, into parts of `every`: the last id of each."""
        ...

    def behind(self, *, limit: int) -> tuple[Index, ...]:
        """Finished generations that are owed something."""
        ...


class VectorIndex(Protocol):
    """Vectors of generations, half precision, inner product. One table per generation; joined with live images."""

    def ensure(self, index_id: UUID, dim: int) -> None:
        """Create the generation's table if missing; safe when called by two workers at once."""
        ...

    def upsert(self, index_id: UUID, image_ids: Sequence[UUID], vectors: Vectors) -> None:
        """Write unit vectors [n, d]; of several for one image the last one. Never builds (see `VectorBuilder`)."""
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
        """Highest inner products first, ties by image id; images that are gone never return.

        With `exact` nothing is overlooked. Else the adapter chooses: exactly where that is cheap (few vectors, or few
        that pass the filter), approximately elsewhere. Fewer than `limit` only where no more pass.
        """
        ...

    def missing(self, index_id: UUID, *, after: UUID | None, limit: int) -> tuple[UUID, ...]:
        """Images of the generation's gallery without a vector, by id, those that follow `after`."""
        ...

    def census(self, index_id: UUID) -> Census:
        """Compare the generation with its gallery, image by image."""
        ...

    def sample(self, index_id: UUID, *, size: int) -> tuple[UUID, ...]:
        """Up to `size` images that have a vector, drawn evenly."""
        ...

    def mean(self, index_id: UUID, *, sample: int) -> tuple[Vector, int] | None:
        """Mean of up to `sample` vectors and how many it took; None when there is none."""
        ...

    def count(self, index_id: UUID) -> int:
        """Vectors of the generation, counted one by one; 0 when it has no table yet."""
        ...

    def drop(self, index_id: UUID) -> None:
        """Drop the generation's table if it is there, also while it is being built."""
        ...

    def outgrown(self) -> Mapping[UUID, int]:
        """Generations too large for exact search that nothing was built for yet, and about how many vectors each has.

        They are searched exactly all the same, and slowly, until `VectorBuilder.build` has run.
        """
        ...

    def built(self, index_id: UUID) -> float:
        """How far the generation is built: 1.0 when nothing is left to do (small ones need nothing), 0.0 before."""
        ...


class VectorBuilder(Protocol):
    """Builds what makes the search of a large generation fast. It takes minutes, so in no unit of work and no unit."""

    def build(self, index_id: UUID, *, stopping: Callable[[], bool]) -> bool:
        """Build, while searches and writes go on, in which writes of meanwhile take part. Returns whether it is done.

        False: somebody else is at it, the generation was dropped meanwhile, or `stopping` (asked every second) ended
        it; what was half built is cleared away by the next call.
        """
        ...


class ConceptStore(Protocol):
    """The vocabulary of a generation."""

    def replace(self, index_id: UUID, concepts: Concepts) -> None:
        """Store exactly these concepts."""
        ...

    def clear(self, index_id: UUID) -> None:
        """Forget them."""
        ...

    def load(self, index_id: UUID) -> Concepts | None:
        """The stored concepts, or None."""
        ...
