"""Clients that do not stop: imports of a second's worth of changes, and queries by picture."""

import io
import json
import random
import threading
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from benchmarks.faults.watch import TERMINAL
from benchmarks.reindex.truth import Truth

STEP = 97
"""How far the picture moves that an image gets next: always to one drawn from another product."""
ONE_IN = 20
TOP_K = 20
CLIENTS = 8
_WAIT_S = 10


@dataclass(frozen=True)
class Photos:
    """The pictures of a catalog (benchmarks.pictures) by number."""

    archive: Path
    count: int

    @cached_property
    def _opened(self) -> zipfile.ZipFile:
        """Open for as long as the process lives: reading the directory of 20 000 takes longer than an import."""
        return zipfile.ZipFile(self.archive)

    def read(self, number: int) -> bytes:
        """The JPEG. From any thread."""
        return self._opened.read(f"images/{number // 1000:03d}/{number:06d}.jpg")


@dataclass
class Changes:
    """Which changes come next: mostly new pictures for images; one in ONE_IN a new image, as many removals of those."""

    photos: Photos
    seed: int = 5
    versions: dict[str, int] = field(default_factory=dict)
    made: int = 0

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)  # noqa: S311 - repeatable on purpose
        self._extra: list[str] = []
        self._busy: set[str] = set()

    def next(self, count: int) -> dict[str, int | None]:
        """`count` external ids and the numbers of the pictures that they get; None: they go."""
        changes: dict[str, int | None] = {}
        for _ in range(count):
            self.made += 1
            if self.made % ONE_IN == 0:
                name = f"new-{self.made:06d}"
                self._extra.append(name)
                self._busy.add(name)
                changes[name] = self.made % self.photos.count
            elif self.made % ONE_IN == 1 and self._extra and self._extra[0] not in self._busy:
                name = self._extra.pop(0)
                self._busy.add(name)
                changes[name] = None
            else:
                changes |= self._renewed()
        return changes

    def settled(self, changes: Mapping[str, int | None]) -> None:
        """These may change again."""
        self._busy -= set(changes)

    def _renewed(self) -> dict[str, int | None]:
        for _ in range(self.photos.count):
            number = self._rng.randrange(self.photos.count)
            name = f"sku-{number:06d}"
            if name not in self._busy:
                self._busy.add(name)
                self.versions[name] = self.versions.get(name, 0) + 1
                return {name: (number + STEP * self.versions[name]) % self.photos.count}
        return {}


def archive_of(changes: Mapping[str, int | None], photos: Photos) -> tuple[bytes, dict[str, str | None]]:
    """A ZIP with a manifest that brings the changes about, and what the images then are."""
    rows, contents = [], dict[str, str | None]()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, number in changes.items():
            if number is None:
                rows.append({"external_id": name, "operation": "delete"})
                contents[name] = None
                continue
            data = photos.read(number)
            archive.writestr(f"images/{name}.jpg", data)
            rows.append({"external_id": name, "image": f"images/{name}.jpg"})
            contents[name] = sha256(data).hexdigest()
        archive.writestr("changes.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return target.getvalue(), contents


@dataclass
class Tally:
    """What the clients saw."""

    queries: int = 0
    upserts: int = 0
    failures: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failed_upserts: list[str] = field(default_factory=list)
    query_s: list[float] = field(default_factory=list)
    upsert_s: list[float] = field(default_factory=list)
    answered_by: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Rates:
    """Changes and queries a second."""

    upserts: int = 20
    queries: int = 5


class Load:
    """Runs from enter to exit, then waits until everything that it began has ended."""

    def __init__(self, http: httpx.Client, gallery: str, photos: Photos, truth: Truth, rates: Rates) -> None:
        self.tally = Tally()
        self._http = http
        self._gallery = gallery
        self._changes = Changes(photos)
        self._truth = truth
        self._rates = rates
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(2 * CLIENTS)
        self._running: list[Future[None]] = []
        self._rng = random.Random(3)  # noqa: S311 - repeatable on purpose

    def __enter__(self) -> Self:
        self._threads = [
            threading.Thread(target=self._every, args=(1.0, self._upsert)),
            threading.Thread(target=self._every, args=(1.0 / self._rates.queries, self._query)),
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown(wait=True)
        for each in self._running:
            each.result()

    def _every(self, period_s: float, action: Callable[[], None]) -> None:
        due_s = time.monotonic()
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            self._running.append(self._pool.submit(action))
            due_s += period_s

    def _upsert(self) -> None:
        with self._lock:
            changes = self._changes.next(self._rates.upserts)
        if not changes:
            return  # every image is changing just now
        data, contents = archive_of(changes, self._changes.photos)
        self._truth.asked(contents)
        began_s = time.monotonic()
        job = self._ended("imports", files={"file": ("changes.zip", data, "application/zip")})
        with self._lock:
            self._changes.settled(changes)
            self.tally.upserts += len(contents)
            if job["state"] == "succeeded":
                self._truth.done(contents)
                self.tally.upsert_s.append(time.monotonic() - began_s)
            else:
                self.tally.failed_upserts.append(f"{job['state']}: {job.get('error')}")

    def _query(self) -> None:
        """By the picture that an image has: it has to be among the results."""
        known = {name: allowed for name, allowed in self._truth.now().items() if len(allowed) == 1}
        with self._lock:
            certain = [name for name, allowed in known.items() if None not in allowed]
            if not certain:
                return  # every image is changing just now: of none is it known what a query has to find
            name = self._rng.choice(certain)
        query = {"reference": {"external_id": name}, "include_reference": True, "top_k": TOP_K, "rerank": False}
        began_s = time.monotonic()
        job = self._ended("queries", json=query)
        changed = self._truth.now().get(name) != known[name]
        with self._lock:
            self.tally.queries += 1
            if job["state"] != "succeeded":
                # A reference that was removed between the choice and the answer is not the service's fault.
                if not changed:
                    self.tally.failures.append(f"{name}: {job['state']} {job.get('error')}")
                return
            self.tally.query_s.append(time.monotonic() - began_s)
            answer = job["result"]
            self.tally.answered_by[answer["index_id"]] = self.tally.answered_by.get(answer["index_id"], 0) + 1
            if not changed and name not in {row["external_id"] for row in answer["results"]}:
                self.tally.missing.append(f"{name} by {answer['index_id']}")

    def _ended(self, what: str, **body: Any) -> dict[str, Any]:
        """The job once it has ended; what HTTP refuses reads as a failed job."""
        try:
            answer = self._http.post(f"/galleries/{self._gallery}/{what}", **body)
            job: dict[str, Any] = answer.raise_for_status().json()
            while job["state"] not in TERMINAL:
                job = self._http.get(f"/jobs/{job['id']}", params={"wait": _WAIT_S}).raise_for_status().json()
        except httpx.HTTPError as error:
            return {"state": "failed", "error": str(error)}
        return job


def median(values: Sequence[float]) -> float:
    """0 without any."""
    return sorted(values)[len(values) // 2] if values else 0.0
