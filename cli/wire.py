"""JSON as the API sends it, typed."""

from typing import Any, NotRequired, TypeAlias, TypedDict

TERMINAL = frozenset({"succeeded", "partially_succeeded", "failed", "canceled"})
"""States in which a job stays."""

OUTCOMES = ("created", "updated", "unchanged", "deleted", "failed", "canceled")
"""How an item can end; names of counters."""

Json: TypeAlias = dict[str, Any]


class Progress(TypedDict):
    """Counters of a job; `total` is None until planning ends, then the sum of the others."""

    total: int | None
    created: int
    updated: int
    unchanged: int
    deleted: int
    failed: int
    canceled: int
    pending: int


class WaitingFor(TypedDict):
    """Why nothing moves."""

    queue: str
    consumers: int
    since: str | None
    until: str | None


class JobError(TypedDict):
    """Why a whole job failed."""

    code: str
    detail: str


class Coarse(TypedDict):
    """Place of a result in the coarse search."""

    rank: int
    score: float


class Judgment(TypedDict):
    """What the judge said of a result; `p_yes` in 0..1."""

    p_yes: float | None


class Result(TypedDict):
    """One row of a query's answer. Ranks start at 1."""

    rank: int
    external_id: str
    score: float
    coarse: Coarse
    rerank: Judgment | None
    image_url: str | None
    thumbnail_url: str | None
    attributes: Json


class Explanation(TypedDict):
    """Concepts of the reference that the query kept and dropped, each with a weight in 0..1."""

    kept: list[tuple[str, float]]
    dropped: list[tuple[str, float]]


class Answer(TypedDict):
    """The result of a query job."""

    reranked: bool
    strategy: str
    results: list[Result]
    explanation: NotRequired[Explanation | None]
    reason: NotRequired[str | None]
    timings_ms: NotRequired[dict[str, float]]


class ExportFile(TypedDict):
    """One Parquet file of an export."""

    key: str
    rows: int
    size_bytes: int
    url: str


class Job(TypedDict):
    """A job as the API shows it; `result` is an `Answer` for queries."""

    id: str
    kind: str
    state: str
    stage: str
    gallery: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    progress: Progress
    waiting_for: WaitingFor | None
    eta_seconds: int | None
    result: Json | None
    error: JobError | None
    warnings: NotRequired[list[str]]


class Item(TypedDict):
    """The outcome of one item of a job."""

    external_id: str
    source: str
    code: str
    detail: str


class Gallery(TypedDict):
    """A gallery as the API shows it."""

    name: str
    encoder: str
    image_count: int
    created_at: str


class Index(TypedDict):
    """A generation of a gallery's vectors; `pending` images it still lacks, `built` 0..1 of its search structure."""

    id: str
    encoder: str
    state: str
    pending: int
    built: float
    created_at: str


class SkippedTick(TypedDict):
    """A moment at which a schedule started nothing."""

    tick: str
    reason: str


class Schedule(TypedDict):
    """What a gallery does by itself. Without a source it re-indexes."""

    gallery: str
    cron: str
    timezone: str
    source: Json | None
    mode: str
    next_tick: str
    last_tick: str | None
    last_job: str | None
    last_skipped: SkippedTick | None


class Image(TypedDict):
    """An image of a gallery."""

    id: str
    external_id: str
    attributes: Json
    sha256: str
    media_type: str
