"""One size: fill, build, and ask every engine the same questions in turns."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.search.data import SELECTIONS, Collection, Selection
from benchmarks.search.library import FaissIndexes, size_mb
from benchmarks.search.postgres import PostgresGallery
from core.filters import parse_filter
from core.models import Vector, Vectors

LIMIT = 50
CLIENTS = 4
WARM_UP = 10

Search = Callable[[Vector], Sequence[int]]


@dataclass(frozen=True)
class Speed:
    """Of one engine with one filter: times of a query by one client, recall@50, queries/s of CLIENTS clients."""

    engine: str
    selection: str
    p50_ms: float
    p95_ms: float
    p99_ms: float
    recall: float
    clients_qps: float


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
    load_s = _timed(load)
    build_s = _timed(gallery.build)
    gallery.settle()
    library = FaissIndexes(collection.vectors, ef_search=gallery.settings.hnsw_ef_search)
    faiss_build_s = _timed(lambda: library.build(collection.vectors))
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
    for probe in collection.queries[:WARM_UP]:
        for search in engines.values():
            search(probe)
    times, found = _in_turns(engines, collection.queries)
    truth = found["faiss flat"]
    return [
        Speed(
            engine=name,
            selection=selection.name,
            p50_ms=_percentile(times[name], 50),
            p95_ms=_percentile(times[name], 95),
            p99_ms=_percentile(times[name], 99),
            recall=round(_recall(found[name], truth), 4),
            clients_qps=round(_throughput(search, collection.queries), 1),
        )
        for name, search in engines.items()
    ]


def _in_turns(
    engines: Mapping[str, Search], probes: Vectors
) -> tuple[dict[str, list[float]], dict[str, list[Sequence[int]]]]:
    """Each probe to every engine, one after the other: seconds, and what was found."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    found: dict[str, list[Sequence[int]]] = {name: [] for name in engines}
    for probe in probes:
        for name, search in engines.items():
            began_s = time.perf_counter()
            found[name].append(search(probe))
            times[name].append(time.perf_counter() - began_s)
    return times, found


def _throughput(search: Search, probes: Vectors) -> float:
    """Queries a second by CLIENTS threads, each with a connection of its own where it needs one."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        return len(probes) / _timed(lambda: list(clients.map(search, probes)))


def _recall(found: Sequence[Sequence[int]], truth: Sequence[Sequence[int]]) -> float:
    shares = [len(set(got) & set(true)) / len(true) for got, true in zip(found, truth, strict=True) if true]
    return float(np.mean(shares)) if shares else 1.0


def _percentile(seconds: Sequence[float], share: float) -> float:
    return round(1000 * float(np.percentile(seconds, share)), 2)


def _timed(run: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    run()
    return time.perf_counter() - began_s
