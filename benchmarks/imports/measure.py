"""One import of n images through the running service, polled all the while, and the same import once more."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from benchmarks.faults.watch import TERMINAL, Sql
from benchmarks.imports.memory import MemoryWatch
from cli.local.up import Stack
from storage.vector_tables import hnsw_name, table_name

POLL_S = 0.2
_GROWING = ("created", "updated", "unchanged", "deleted", "failed", "canceled")
_INDEX = "SELECT active_index_id FROM galleries WHERE id = (SELECT gallery_id FROM jobs WHERE id = %s)"
_BUILT = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(%s) AND indisvalid)"
_EMBED_UNITS = "SELECT count(*) FROM work_units WHERE job_id = %s AND kind = 'embed'"


class ImportFailedError(Exception):
    """An import did not end as it had to; the text says how it ended."""


@dataclass
class Invariants:
    """What was promised of a job's counters at every moment; `broken` lists each time that it did not hold.

    `longest_gap_s` is the longest time between two polls.
    """

    polls: int = 0
    broken: list[str] = field(default_factory=list)
    longest_gap_s: float = 0.0
    _before: dict[str, int] = field(default_factory=dict)
    _total_before: int | None = None

    def check(self, progress: Mapping[str, int | None], written: int, vectors: int) -> None:
        """`written` = created + updated and `vectors`, the rows that have one, are of one and the same snapshot."""
        self.polls += 1
        total = progress["total"]
        counts = {name: progress[name] or 0 for name in _GROWING}
        pending = progress["pending"] or 0
        if pending < 0 or (total is not None and total != sum(counts.values()) + pending):
            self.broken.append(f"the sum is off: {dict(progress)}")
        if self._total_before is not None and (total is None or total < self._total_before):
            self.broken.append(f"the total fell: {self._total_before} -> {total}")
        if any(counts[name] < self._before.get(name, 0) for name in _GROWING):
            self.broken.append(f"a counter fell: {self._before} -> {counts}")
        if written > vectors:
            self.broken.append(f"{written} written, but {vectors} vectors")
        self._before, self._total_before = counts, total

    def check_end(self, job: Mapping[str, Any], expected: Mapping[str, int], vectors: int) -> None:
        """`expected` are all of the counters that are not zero, of a job that came to nothing else."""
        progress = {name: count for name, count in job["progress"].items() if count}
        images = expected["total"]
        if (job["state"], progress) != ("succeeded", dict(expected)) or vectors != images:
            self.broken.append(f"ended as {job['state']}: {progress}, {vectors} vectors; expected {dict(expected)}")


@dataclass(frozen=True)
class Imported:
    """How an import went. `seconds` is from the first byte sent to the job's end, the upload included."""

    job: dict[str, Any]
    seconds: float
    upload_s: float
    invariants: Invariants


@dataclass
class Client:
    """A tenant's view of the running service, and SQL beside it."""

    stack: Stack
    http: httpx.Client
    sql: Sql

    def run(self, gallery: str, archive: Path, expected: Mapping[str, int]) -> Imported:
        """Import the archive and watch the job to its end. ImportFailedError unless it succeeded."""
        began_s = time.monotonic()
        with archive.open("rb") as stream:
            files = {"file": (archive.name, stream, "application/zip")}
            answer = self.http.post(f"/galleries/{gallery}/imports", files=files)
        answer.raise_for_status()
        upload_s = time.monotonic() - began_s
        job_id = UUID(answer.json()["id"])
        invariants = Invariants()
        job = self._follow(job_id, invariants)
        if job["state"] != "succeeded":
            raise ImportFailedError(f"Job {job_id} {job['state']}: {job['progress']} {job['error']}")
        seconds = time.monotonic() - began_s
        invariants.check_end(job, expected, self._written(job_id)[1])
        return Imported(job, seconds, upload_s, invariants)

    def settle(self, imported: Imported, *, patience_s: float = 300.0) -> None:
        """Wait for the HNSW index that the service builds after the import, if it builds one."""
        index_id = self.sql.value(_INDEX, UUID(imported.job["id"]))
        counted = f"SELECT count(*) FROM {table_name(index_id)}"  # noqa: S608 - a UUID's hex digits
        large = self.sql.value(counted) > self.stack.settings.exact_search_below
        deadline_s = time.monotonic() + patience_s
        while large and not self.sql.value(_BUILT, hnsw_name(index_id)):
            if time.monotonic() > deadline_s:
                raise ImportFailedError(f"No HNSW index of {table_name(index_id)} after {patience_s:.0f} s")
            time.sleep(POLL_S)

    def embed_units(self, imported: Imported) -> int:
        """Embedding units that the import made."""
        return int(self.sql.value(_EMBED_UNITS, UUID(imported.job["id"])))

    def _follow(self, job_id: UUID, invariants: Invariants) -> dict[str, Any]:
        polled_s = time.monotonic()
        while True:
            self.stack.supervisor.poll()
            job: dict[str, Any] = self.http.get(f"/jobs/{job_id}").json()
            invariants.check(job["progress"], *self._written(job_id))
            if job["state"] in TERMINAL:
                return job
            time.sleep(max(0.0, polled_s + POLL_S - time.monotonic()))
            now_s = time.monotonic()
            invariants.longest_gap_s = max(invariants.longest_gap_s, now_s - polled_s)
            polled_s = now_s

    def _written(self, job_id: UUID) -> tuple[int, int]:
        table = table_name(self.sql.value(_INDEX, job_id))
        there = self.sql.value("SELECT to_regclass(%s) IS NOT NULL", table)
        vectors = f"(SELECT count(*) FROM {table})" if there else "0"  # noqa: S608 - a UUID's hex digits
        (row,) = self.sql.rows(
            f"SELECT created + updated AS written, {vectors} AS vectors FROM jobs WHERE id = %s",  # noqa: S608
            job_id,
        )
        return row["written"], row["vectors"]


@dataclass(frozen=True)
class Measurement:
    """An import of `images` and its repetition, and the memory of all processes meanwhile.

    `buffers_mib` are the shared buffers that Postgres was started with.
    """

    images: int
    first: Imported
    second: Imported
    second_embed_units: int
    second_puts: int
    rss_mb: dict[str, float]
    own_mb: dict[str, float]
    buffers_mib: int

    def as_json(self) -> dict[str, Any]:
        """For the size's own file."""
        return {
            "images": self.images,
            "seconds": round(self.first.seconds, 2),
            "upload_s": round(self.first.upload_s, 2),
            "second_seconds": round(self.second.seconds, 2),
            "second_upload_s": round(self.second.upload_s, 2),
            "second_progress": self.second.job["progress"],
            "second_embed_units": self.second_embed_units,
            "second_puts": self.second_puts,
            "polls": self.first.invariants.polls + self.second.invariants.polls,
            "longest_gap_s": round(max(self.first.invariants.longest_gap_s, self.second.invariants.longest_gap_s), 2),
            "broken": self.first.invariants.broken + self.second.invariants.broken,
            "rss_mb": {name: round(value, 1) for name, value in self.rss_mb.items()},
            "own_mb": {name: round(value, 1) for name, value in self.own_mb.items()},
            "buffers_mib": self.buffers_mib,
        }


def measure(client: Client, archive: Path, images: int) -> Measurement:
    """Import into a new gallery, then the same again once its index is built, as a night later it would be."""
    gallery = f"images-{images}"
    client.http.post("/galleries", json={"name": gallery}).raise_for_status()
    with MemoryWatch(client.stack.supervisor) as memory:
        first = client.run(gallery, archive, {"total": images, "created": images})
        client.settle(first)
        between_s = time.time()
        second = client.run(gallery, archive, {"total": images, "unchanged": images})
    return Measurement(
        images=images,
        first=first,
        second=second,
        second_embed_units=client.embed_units(second),
        second_puts=stored_since(client.stack, between_s),
        rss_mb=memory.rss_mb,
        own_mb=memory.own_mb,
        buffers_mib=client.stack.settings.postgres_buffers_mib,
    )


def stored_since(stack: Stack, moment_s: float) -> int:
    """Pictures and thumbnails put since then: the embedded S3 server keeps each object as a file."""
    tenants = (stack.settings.data_dir / "s3" / stack.settings.s3_bucket / "tenants").iterdir()
    files = (path for tenant in tenants for kind in ("blobs", "thumbnails") for path in (tenant / kind).rglob("*"))
    return sum(path.is_file() and path.stat().st_mtime >= moment_s for path in files)
