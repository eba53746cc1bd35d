"""One re-index under load, with a killed worker, and back again; looked at every second."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from benchmarks.faults.watch import TERMINAL, Sql
from benchmarks.pictures import catalog_truth
from benchmarks.reindex.load import Load, Photos, Rates, Tally
from benchmarks.reindex.lookout import Lookout
from benchmarks.reindex.truth import Seen, Truth, Witness
from cli.local.up import Stack

GALLERY = "reindexed"
VICTIM = "worker-embed"
_TICK_S = 0.05
_LOOK_EVERY_S = 1.0
_ANSWERED_WITHIN_S = 60.0


class BenchmarkFailedError(Exception):
    """A job did not end as it had to; the text says how it ended."""


@dataclass(frozen=True)
class Plan:
    """How many images, how much load, and how long it lasts before, between and after the switches, in seconds.

    The re-index goes from the encoder `before` to the encoder `after`.
    """

    images: int
    archive: Path
    before: str
    after: str
    rates: Rates = field(default_factory=Rates)
    settle_s: float = 30.0
    kill_at: float = 0.5


@dataclass(frozen=True)
class Outcome:
    """How it went.

    `looks` were taken once a second at the generation that answered, in `look_s` seconds each; `last` at all at last.
    """

    job: Mapping[str, Any]
    tally: Tally
    looks: list[Seen]
    look_s: list[float]
    last: Mapping[str, Seen]
    killed: bool
    rollback_s: float

    @property
    def missing(self) -> int:
        """Images that a query could not find, over all looks and queries."""
        return sum(each.missing for each in (*self.looks, *self.last.values())) + len(self.tally.missing)

    @property
    def stale(self) -> int:
        """Vectors of a picture that its image no longer has, over all looks."""
        return sum(each.stale for each in (*self.looks, *self.last.values()))


@dataclass
class Trial:
    """The service, and SQL beside it."""

    stack: Stack
    http: httpx.Client
    sql: Sql
    plan: Plan

    def run(self) -> Outcome:
        """Import (also as a reference for each encoder, that never changes), then re-index under load."""
        truth, photos = Truth(), Photos(self.plan.archive, self.plan.images)
        contents = dict[str, str | None](catalog_truth(self.plan.archive))
        encoders = (self.plan.before, self.plan.after)
        references = {encoder: f"never-reindexed-{encoder}" for encoder in encoders}
        for gallery, encoder in ((GALLERY, self.plan.before), *((references[name], name) for name in encoders)):
            self._import(gallery, encoder)
        truth.done(contents)
        witness = Witness(self.sql, truth, GALLERY, references)
        before = witness.look().index_id
        with (
            Load(self.http, GALLERY, photos, truth, self.plan.rates) as load,
            Lookout(witness.look, _LOOK_EVERY_S) as lookout,
        ):
            self._settle(load.tally, before)
            job, killed = self._reindex()
            self._settle(load.tally, job["result"]["index_id"])
            rollback_s = self._activate(before)
            self._settle(load.tally, before)
        last = witness.look_at_all()
        return Outcome(job, load.tally, lookout.looks, lookout.took_s, last, killed, rollback_s)

    def _import(self, gallery: str, encoder: str) -> None:
        self.http.post("/galleries", json={"name": gallery, "encoder": encoder}).raise_for_status()
        with self.plan.archive.open("rb") as stream:
            files = {"file": (self.plan.archive.name, stream, "application/zip")}
            answer = self.http.post(f"/galleries/{gallery}/imports", files=files).raise_for_status()
        for job in self._polls(answer.json()["id"]):
            _check(job)

    def _reindex(self) -> tuple[dict[str, Any], bool]:
        """Kills a worker on the way, once."""
        body = {"encoder": self.plan.after, "activate": "when_ready"}
        answer = self.http.post(f"/galleries/{GALLERY}/indexes", json=body).raise_for_status()
        job, killed = answer.json(), False
        for seen in self._polls(job["id"]):
            job, progress = seen, seen["progress"]
            if not killed and progress["total"] and progress["created"] >= self.plan.kill_at * progress["total"]:
                self.stack.supervisor.kill(VICTIM)
                killed = True
        _check(job)
        return job, killed

    def _polls(self, job_id: str) -> Iterable[dict[str, Any]]:
        """The job again and again, until it has ended."""
        job: dict[str, Any] = {"state": "queued"}
        while job["state"] not in TERMINAL:
            self._tick()
            job = self.http.get(f"/jobs/{UUID(job_id)}").raise_for_status().json()
            yield job

    def _activate(self, index_id: str) -> float:
        began_s = time.monotonic()
        self.http.post(f"/galleries/{GALLERY}/indexes/{index_id}/activate").raise_for_status()
        return time.monotonic() - began_s

    def _settle(self, tally: Tally, index_id: str) -> None:
        """Lets time pass, and more of it while that index has not answered any query."""
        began_s = time.monotonic()
        while time.monotonic() < began_s + self.plan.settle_s or index_id not in tally.answered_by:
            self._tick()
            if time.monotonic() > began_s + self.plan.settle_s + _ANSWERED_WITHIN_S:
                raise BenchmarkFailedError(f"Index {index_id} answered no query within {_ANSWERED_WITHIN_S:.0f} s.")

    def _tick(self) -> None:
        self.stack.supervisor.poll()
        time.sleep(_TICK_S)


def _check(job: Mapping[str, Any]) -> None:
    if job["state"] in TERMINAL and job["state"] != "succeeded":
        raise BenchmarkFailedError(f"Job {job['id']} {job['state']}: {job['progress']} {job['error']}")
