"""How much storage, memory, computing and money a gallery takes: formulas only. docs/scaling.md explains each.

Sizes of what Postgres stores follow from its page layout (PostgreSQL 18, "Database Page Layout") and pgvector's tuples
(pgvector 0.8, src/hnsw.h); they were compared with real tables, see docs/scaling.md. GB are 10^9 bytes.
"""

import math
from dataclasses import dataclass, field, replace

_PAGE, _PAGE_HEADER, _ITEM, _SPECIAL = 8192, 24, 4, 8
_HEAP_HEADER, _UUID, _HALFVEC_HEADER = 24, 16, 8
_HNSW_ELEMENT, _HNSW_NEIGHBOURS, _POINTER = 72, 4, 6
_PRIMARY_KEY = 34
_GB = 1e9
_HOUR_S = 3600.0
_MONTH_HOURS = 730.0
MAX_DIM = 4000
"""What pgvector can index as halfvec."""


def _told(default: float, text: str) -> float:
    """A field of which the command line says what it means."""
    value: float = field(default=default, metadata={"help": text})
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is to be served."""

    dim: float = _told(512, "Dimension of the encoder's vectors.")
    m: float = _told(16, "Neighbours of a node of the HNSW graph.")
    generations: float = _told(2, "Indexes kept complete: the active one, and one to go back to.")
    picture_kb: float = _told(100, "Mean size of a picture file, in kB.")
    thumbnail_kb: float = _told(8, "Mean size of a thumbnail, in kB.")
    row_bytes: float = _told(1600, "Bytes of Postgres for each image without its vector: rows, attributes, indexes.")
    queries_s: float = _told(5, "Queries a second at the busiest time.")
    reranked_share: float = _told(0.5, "Share of the queries that the judge sees.")
    changed_share: float = _told(0.01, "Share of the images that change in a night.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What one unit of hardware does. Put in what the benchmarks say on yours."""

    gpu_images_s: float = _told(600, "Images a second that a GPU embeds.")
    core_images_s: float = _told(14, "Images a second that a CPU core embeds.")
    ingest_core_ms: float = _told(15, "Milliseconds of a core for each new image: fetch, decode, thumbnail, store.")
    look_core_ms: float = _told(2, "Milliseconds of a core for each image that turns out unchanged.")
    build_core_vectors_s: float = _told(700, "Vectors a second that a core of Postgres adds to a graph in memory.")
    query_core_ms: float = _told(50, "Milliseconds of a core for each query: encode, compose, search.")
    judge_gpu_ms: float = _told(800, "Milliseconds of a GPU for each re-ranked query.")
    busy_share: float = _told(0.6, "Share of the time that workers should be busy at the busiest time.")
    hot_rows_share: float = _told(0.25, "Share of rows (not vectors) that Postgres should have in memory.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """What an import may use."""

    gpus: float = _told(1, "GPUs that embed; 0: CPU cores do.")
    embed_cores: float = _told(16, "CPU cores that embed where there are no GPUs.")
    ingest_cores: float = _told(16, "CPU cores that fetch and decode.")
    build_cores: float = _told(8, "CPU cores of Postgres that build an index.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Examples, in whatever currency; nobody's price list."""

    core_hour: float = _told(0.04, "A CPU core for an hour.")
    gpu_hour: float = _told(1.50, "A GPU for an hour.")
    memory_gb_month: float = _told(3.00, "A GB of memory for a month.")
    disk_gb_month: float = _told(0.10, "A GB of fast disk for a month.")
    object_gb_month: float = _told(0.02, "A GB in the object store for a month.")


@dataclass(frozen=True, slots=True)
class Sizing:
    """The answer.

    `*_gb` are GB; hours of cores and GPUs are those of one, other hours are of the clock; costs are in the currency of
    the prices.
    """

    images: int
    pictures_gb: float
    thumbnails_gb: float
    rows_gb: float
    vectors_gb: float
    hnsw_gb: float
    memory_gb: float
    ingest_core_hours: float
    embed_gpu_hours: float
    embed_core_hours: float
    build_hours: float
    import_hours: float
    night_hours: float
    query_cores: int
    judge_gpus: int
    import_cost: float
    month_cost: float

    @property
    def disk_gb(self) -> float:
        """What Postgres keeps."""
        return self.rows_gb + self.vectors_gb + self.hnsw_gb


def vector_row_bytes(dim: int) -> float:
    """Bytes of a vector's row and its key: as many whole rows as fit a page (vectors are stored plain, in the row)."""
    row = _HEAP_HEADER + _UUID + _HALFVEC_HEADER + 2 * dim
    return _a_page_holds(_aligned(row) + _ITEM, _PAGE - _PAGE_HEADER) + _PRIMARY_KEY


def hnsw_bytes(dim: int, m: int) -> float:
    """Bytes of a vector in an HNSW index: its element, and its neighbours (2 m below, m on each level above)."""
    element = _aligned(_HNSW_ELEMENT + _HALFVEC_HEADER + 2 * dim) + _ITEM
    above = m / (m - 1)  # a node is on one level above the lowest with probability 1/m, on two with 1/m^2, …
    neighbours = _aligned(_HNSW_NEIGHBOURS + _POINTER * math.ceil(2 * m + above)) + _ITEM
    return _a_page_holds(element + neighbours, _PAGE - _PAGE_HEADER - _SPECIAL)


def _a_page_holds(each: float, room: int) -> float:
    """Bytes for each when only whole ones fit a page."""
    return _PAGE / max(1, room // each)


def _aligned(size: float) -> int:
    return 8 * math.ceil(size / 8)


def size(images: int, load: Load, rates: Rates, workers: Workers, prices: Prices) -> Sizing:
    """All of it for a gallery of so many images. ValueError for a dimension that cannot be indexed."""
    dim = int(load.dim)
    if not 1 <= dim <= MAX_DIM:
        raise ValueError(f"pgvector indexes halfvec of 1 to {MAX_DIM} dimensions, not {dim}")
    graph_gb = images * hnsw_bytes(dim, int(load.m)) / _GB
    rows_gb = images * load.row_bytes / _GB
    queries = load.queries_s / rates.busy_share
    sizing = Sizing(
        images=images,
        pictures_gb=images * load.picture_kb * 1e3 / _GB,
        thumbnails_gb=images * load.thumbnail_kb * 1e3 / _GB,
        rows_gb=rows_gb,
        vectors_gb=load.generations * images * vector_row_bytes(dim) / _GB,
        hnsw_gb=load.generations * graph_gb,
        memory_gb=graph_gb + rates.hot_rows_share * rows_gb,
        ingest_core_hours=images * rates.ingest_core_ms / 1e3 / _HOUR_S,
        embed_gpu_hours=images / rates.gpu_images_s / _HOUR_S,
        embed_core_hours=images / rates.core_images_s / _HOUR_S,
        build_hours=images / (rates.build_core_vectors_s * workers.build_cores) / _HOUR_S,
        import_hours=_import_hours(images, rates, workers),
        night_hours=_import_hours(images * load.changed_share, rates, workers)
        + images * (1 - load.changed_share) * rates.look_core_ms / 1e3 / workers.ingest_cores / _HOUR_S,
        query_cores=math.ceil(queries * rates.query_core_ms / 1e3),
        judge_gpus=math.ceil(queries * load.reranked_share * rates.judge_gpu_ms / 1e3),
        import_cost=0.0,
        month_cost=0.0,
    )
    return _priced(sizing, workers, prices)


def _import_hours(images: float, rates: Rates, workers: Workers) -> float:
    """Fetching and embedding go on side by side, so the slower one counts."""
    ingest_s = rates.ingest_core_ms / 1e3 / workers.ingest_cores
    rate = rates.gpu_images_s * workers.gpus if workers.gpus else rates.core_images_s * workers.embed_cores
    return images * max(ingest_s, 1 / rate) / _HOUR_S


def _priced(sizing: Sizing, workers: Workers, prices: Prices) -> Sizing:
    embedding = sizing.embed_gpu_hours * prices.gpu_hour if workers.gpus else sizing.embed_core_hours * prices.core_hour
    standing = sizing.query_cores * prices.core_hour + sizing.judge_gpus * prices.gpu_hour
    return replace(
        sizing,
        import_cost=embedding + sizing.ingest_core_hours * prices.core_hour,
        month_cost=(sizing.pictures_gb + sizing.thumbnails_gb) * prices.object_gb_month
        + sizing.disk_gb * prices.disk_gb_month
        + sizing.memory_gb * prices.memory_gb_month
        + standing * _MONTH_HOURS,
    )
