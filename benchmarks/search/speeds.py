"""Engines are asked the same questions in turns: how long each takes, and what it misses."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

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


def compare(engines: Mapping[str, Search], queries: Vectors, *, selection: str, truth: str) -> list[Speed]:
    """The speeds of engines for queries float32 [q, d]; what the engine called `truth` finds is right."""
    for probe in queries[:WARM_UP]:
        for search in engines.values():
            search(probe)
    times, found = _in_turns(engines, queries)
    return [
        Speed(
            engine=name,
            selection=selection,
            p50_ms=percentile_ms(times[name], 50),
            p95_ms=percentile_ms(times[name], 95),
            p99_ms=percentile_ms(times[name], 99),
            recall=round(recall(found[name], found[truth]), 4),
            clients_qps=round(_throughput(search, queries), 1),
        )
        for name, search in engines.items()
    ]


def recall(found: Sequence[Sequence[int]], truth: Sequence[Sequence[int]]) -> float:
    """Mean share of the true numbers that were found, over the queries that have any; 1 when none has."""
    shares = [len(set(got) & set(true)) / len(true) for got, true in zip(found, truth, strict=True) if true]
    return float(np.mean(shares)) if shares else 1.0


def percentile_ms(seconds: Sequence[float], percent: float) -> float:
    """Between the two nearest times where it falls between them; in ms, to a hundredth."""
    return round(1000 * float(np.percentile(seconds, percent)), 2)


def timed(run: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    began_s = time.perf_counter()
    run()
    return time.perf_counter() - began_s


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
        return len(probes) / timed(lambda: list(clients.map(search, probes)))
