"""Submitting, polling, and whole queries, against the running service."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from statistics import quantiles
from typing import Any

from benchmarks.api.caller import Caller

POLLERS = 4
LONG_POLLS = 4
TEXTS = (
    "in red",
    "in blue, with long sleeves",
    "a striped one",
    "in green instead",
    "the same in black",
    "plain white",
)
RERANK_BUDGET_S = 600
"""A query that gave up on the judge would look fast."""


@dataclass(frozen=True)
class Latencies:
    """Seconds of each call, and how long all of them took together."""

    seconds: tuple[float, ...]
    whole_s: float

    @property
    def p50_ms(self) -> float:
        """Median."""
        return 1000 * quantiles(self.seconds, n=100, method="inclusive")[49]

    @property
    def p95_ms(self) -> float:
        """All but one of twenty are faster."""
        return 1000 * quantiles(self.seconds, n=100, method="inclusive")[94]

    @property
    def rate(self) -> float:
        """Calls a second."""
        return len(self.seconds) / self.whole_s


@dataclass(frozen=True)
class Level:
    """Whole queries by so many clients at once, each of which asks, waits and asks again."""

    clients: int
    submit: Latencies
    whole: Latencies


class Service:
    """The running service, a gallery in it, and what is asked of it."""

    def __init__(self, url: str, api_key: str, gallery: str, references: Sequence[str]) -> None:
        self._url = url
        self._api_key = api_key
        self._gallery = gallery
        self._references = references
        self._turn = count()
        self._taking = threading.Lock()

    def caller(self) -> Caller:
        """A connection of its own."""
        return Caller(self._url, self._api_key)

    def query(self, *, judged: bool) -> dict[str, Any]:
        """The next composed query; each has another reference or another text than the one before."""
        with self._taking:
            turn = next(self._turn)
        return {
            "reference": {"external_id": self._references[turn % len(self._references)]},
            "text": TEXTS[turn % len(TEXTS)],
            "rerank": {"budget_seconds": RERANK_BUDGET_S} if judged else False,
        }

    def ask(self, caller: Caller, *, judged: bool) -> tuple[float, float]:
        """Submit a query and wait for its end; seconds until the 202, and until the final result was read."""
        body = self.query(judged=judged)
        began_s = time.perf_counter()
        job = caller.post(f"/galleries/{self._gallery}/queries", body)
        accepted_s = time.perf_counter()
        caller.ended(job["id"])
        return accepted_s - began_s, time.perf_counter() - began_s

    def level(self, clients: int, queries: int, *, judged: bool) -> Level:
        """So many queries in all, by clients that are ready before the clock starts."""
        each = max(1, queries // clients)

        def client() -> list[tuple[float, float]]:
            with self.caller() as caller:
                return [self.ask(caller, judged=judged) for _ in range(each)]

        began_s = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            spent = [pair for done in [pool.submit(client) for _ in range(clients)] for pair in done.result()]
        whole_s = time.perf_counter() - began_s
        submit, whole = zip(*spent, strict=True)
        return Level(clients, Latencies(submit, whole_s), Latencies(whole, whole_s))

    def polls(self, job_id: str, seconds: float, *, held_open: str) -> Latencies:
        """Poll one job by POLLERS connections, while LONG_POLLS others wait for another one to change."""
        with self._long_polls(held_open):
            began_s = time.perf_counter()
            with ThreadPoolExecutor(POLLERS) as pool:
                lanes = [pool.submit(self._poll_until, job_id, began_s + seconds) for _ in range(POLLERS)]
                spent = tuple(one for lane in lanes for one in lane.result())
            return Latencies(spent, time.perf_counter() - began_s)

    def _poll_until(self, job_id: str, end_s: float) -> list[float]:
        spent = []
        with self.caller() as caller:
            now_s = time.perf_counter()
            while now_s < end_s:
                caller.get(f"/jobs/{job_id}")
                spent.append(time.perf_counter() - now_s)
                now_s += spent[-1]
        return spent

    @contextmanager
    def _long_polls(self, job_id: str) -> Iterator[None]:
        done = threading.Event()

        def wait(ready: Callable[[], object]) -> None:
            with self.caller() as caller:
                ready()
                while not done.is_set():
                    caller.job(job_id, wait_s=2)

        barrier = threading.Barrier(LONG_POLLS + 1)
        with ThreadPoolExecutor(LONG_POLLS) as pool:
            waiting = [pool.submit(wait, barrier.wait) for _ in range(LONG_POLLS)]
            barrier.wait()
            try:
                yield
            finally:
                done.set()
            for lane in waiting:
                lane.result()
