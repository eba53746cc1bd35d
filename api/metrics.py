"""Numbers for Prometheus: what this process did, and what is open according to Postgres at the moment of the scrape.

No label names a tenant, a gallery or anything else that clients choose, so the number of series is bounded.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from core.context import Context
from core.errors import UnavailableError
from core.jobs import TERMINAL
from core.models import Backlog, JobKind, JobState, Queue

UNMATCHED = "unmatched"
OTHER_METHOD = "other"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BUCKETS_S = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
WAIT_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30)
_NO_VERSION = re.compile(r"version=(?!\d{1,4}(\.\d{1,4}){0,3}\s*([,;]|$))")
"""A version in the Accept header that `choose_encoder` would trip over."""


class Metrics:
    """The metrics of one application, in a registry of its own."""

    def __init__(self, ctx: Context) -> None:
        self._registry = CollectorRegistry()
        self._requests = Histogram(
            "setr_http_request_duration_seconds",
            "From a request's arrival to the beginning of its answer, without the time that a long-poll waits.",
            ("method", "route", "status"),
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._waits = Histogram(
            "setr_long_poll_wait_seconds",
            "How long requests with `wait` waited for a change of their job.",
            buckets=WAIT_BUCKETS_S,
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)
        self._registry.register(_Postgres(ctx))

    def answered(self, method: str, route: str | None, status: int, *, seconds: float) -> None:
        """Count a request. `route` is the rule that matched, None where none did."""
        known = method if method in METHODS else OTHER_METHOD
        self._requests.labels(known, route or UNMATCHED, str(status)).observe(seconds)

    def waited(self, seconds: float) -> None:
        """Count a long-poll."""
        self._waits.observe(seconds)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics as text, and its media type, by the Accept header. Takes a look at Postgres."""
        encode, media_type = choose_encoder("" if _NO_VERSION.search(accept) else accept)
        return encode(self._registry), media_type


class _Postgres(Collector):
    """Reads at each scrape; where Postgres is away, says only that."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    def collect(self) -> Iterator[Metric]:
        try:
            found = self._read()
        except UnavailableError:
            found = None
        up = GaugeMetricFamily("setr_up", "Whether a part of the service answered this scrape.", labels=("part",))
        up.add_metric(("postgres",), float(found is not None))
        yield up
        yield from found or ()

    def _read(self) -> list[Metric]:
        alive_within = timedelta(seconds=self._ctx.settings.worker_dead_after_s)
        with self._ctx.uow(read_only=True) as uow:
            backlog = uow.monitoring.backlog()
            consumers = uow.workers.consumers(alive_within=alive_within)
            open_jobs = uow.monitoring.open_jobs()
            deliveries = uow.monitoring.pending_deliveries()
        alive = {queue: found.count for queue, found in consumers.items()}
        return [
            *_of_backlog(backlog),
            _by_queue("setr_queue_consumers", "Live workers that take from the queue.", alive),
            _of_jobs(open_jobs),
            GaugeMetricFamily("setr_webhook_deliveries_pending", "Webhooks that are still to be sent.", deliveries),
        ]


def _of_backlog(backlog: Mapping[Queue, Backlog]) -> list[Metric]:
    return [
        _by_queue(
            "setr_queue_due_units",
            "Units of work that a worker could take now.",
            {queue: open_.due for queue, open_ in backlog.items()},
        ),
        _by_queue(
            "setr_queue_deferred_units",
            "Units of work that wait for a moment, or for other units.",
            {queue: open_.deferred for queue, open_ in backlog.items()},
        ),
        _by_queue(
            "setr_queue_running_units",
            "Units of work that a worker holds.",
            {queue: open_.running for queue, open_ in backlog.items()},
        ),
        _by_queue(
            "setr_queue_oldest_due_seconds",
            "How long the oldest unit that is due has waited; 0 where none is.",
            {queue: open_.oldest_due_s for queue, open_ in backlog.items()},
        ),
    ]


def _by_queue(name: str, meaning: str, values: Mapping[Queue, float]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=("queue",))
    for queue, value in values.items():
        family.add_metric((queue.value,), value)
    return family


def _of_jobs(counts: Mapping[tuple[JobKind, JobState], int]) -> Metric:
    family = GaugeMetricFamily("setr_jobs_open", "Jobs that have not ended.", labels=("kind", "state"))
    for kind in JobKind:
        for state in JobState:
            if state not in TERMINAL:
                family.add_metric((kind.value, state.value), counts.get((kind, state), 0))
    return family
