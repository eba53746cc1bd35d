"""The other side: FAISS in this process, with the graph that pgvector builds, on one thread a query."""

from collections.abc import Sequence

import faiss
import numpy as np
from numpy.typing import NDArray

from core.models import Vector, Vectors

LINKS, BUILD_WIDTH = 16, 64
"""pgvector's defaults: m and ef_construction."""


class FaissIndexes:
    """Flat (exact) and HNSW over the same float32 vectors."""

    def __init__(self, vectors: Vectors, *, ef_search: int) -> None:
        self._ef_search = ef_search
        self.flat = faiss.IndexFlatIP(vectors.shape[1])
        self.flat.add(vectors)
        self.hnsw = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        self.hnsw.hnsw.efConstruction = BUILD_WIDTH

    def build(self, vectors: Vectors) -> None:
        """The graph, on all cores; searches take one."""
        self.hnsw.add(vectors)
        faiss.omp_set_num_threads(1)

    def exact(self, probe: Vector, limit: int, kept: NDArray[np.int64] | None) -> Sequence[int]:
        """By comparing all that is kept."""
        parameters = None if kept is None else faiss.SearchParameters(sel=faiss.IDSelectorBatch(kept))
        return _numbers(self.flat.search(probe[None], limit, params=parameters))

    def near(self, probe: Vector, limit: int, kept: NDArray[np.int64] | None) -> Sequence[int]:
        """Along the graph; what the filter does not keep is walked over."""
        chosen = {} if kept is None else {"sel": faiss.IDSelectorBatch(kept)}
        parameters = faiss.SearchParametersHNSW(efSearch=self._ef_search, **chosen)
        return _numbers(self.hnsw.search(probe[None], limit, params=parameters))


def size_mb(index: faiss.Index) -> float:
    """In memory, as it would be written."""
    return float(faiss.serialize_index(index).nbytes / 1e6)


def _numbers(found: tuple[NDArray[np.float32], NDArray[np.int64]]) -> Sequence[int]:
    return [int(number) for number in found[1][0] if number >= 0]
