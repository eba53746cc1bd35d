"""One size: fill, build, and search on both sides."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.search.data import SELECTIONS, Collection, Selection
from benchmarks.search.library import FaissIndexes, size_mb
from benchmarks.search.postgres import PostgresGallery
from benchmarks.search.speeds import LIMIT, Search, Speed, compare, timed
from core.filters import parse_filter


@dataclass(frozen=True)
class Measured:
    """A collection of one size and distribution."""

    size: int
    distribution: str
    load_s: float
    build_s: float
    table_mb: float
    index_mb: float
    faiss_build_s: float
    faiss_mb: float
    speeds: tuple[Speed, ...]

    def as_json(self) -> dict[str, Any]:
        """For the file."""
        return asdict(self)


def measure(
    gallery: PostgresGallery,
    collection: Collection,
    *,
    distribution: str,
    load: Callable[[], None],
    selections: Sequence[Selection] = SELECTIONS,
) -> Measured:
    """Load (by `load`), build and search on both sides."""
    load_s = timed(load)
    build_s = timed(gallery.build)
    gallery.settle()
    library = FaissIndexes(collection.vectors, ef_search=gallery.settings.hnsw_ef_search)
    faiss_build_s = timed(lambda: library.build(collection.vectors))
    speeds = [speed for each in selections for speed in _compare(gallery, library, collection, each)]
    table_mb, index_mb = gallery.sizes_mb()
    return Measured(
        size=len(collection.vectors),
        distribution=distribution,
        load_s=round(load_s, 1),
        build_s=round(build_s, 1),
        table_mb=round(table_mb),
        index_mb=round(index_mb),
        faiss_build_s=round(faiss_build_s, 1),
        faiss_mb=round(size_mb(library.hnsw)),
        speeds=tuple(speeds),
    )


def _compare(
    gallery: PostgresGallery, library: FaissIndexes, collection: Collection, selection: Selection
) -> list[Speed]:
    kept = collection.kept(selection)
    limit = LIMIT if kept is None else min(LIMIT, len(kept))
    where = None if selection.where is None else parse_filter(dict(selection.where))
    engines: dict[str, Search] = {
        "postgres": lambda probe: gallery.search(probe, limit, where),
        "faiss hnsw": lambda probe: library.near(probe, limit, kept),
        "faiss flat": lambda probe: library.exact(probe, limit, kept),
    }
    return compare(engines, collection.queries, selection=selection.name, truth="faiss flat")
