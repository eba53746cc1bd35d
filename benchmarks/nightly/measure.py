"""Nights of one gallery through the running service: each an import of the shop's manifest, as a schedule makes it."""

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from benchmarks.faults.watch import TERMINAL, Sql
from benchmarks.imports.measure import ImportFailedError, stored_since
from benchmarks.nightly.site import Served, Site
from cli.local.up import Stack

GALLERY = "nightly"
_WAIT_S = 10
_EMBEDDED = "SELECT coalesce(sum(size), 0) FROM work_units WHERE job_id = %s AND kind = 'embed'"


@dataclass(frozen=True)
class Night:
    """What one import cost. `embedded` pictures, `puts` objects (a picture and its thumbnail are two)."""

    name: str
    seconds: float
    progress: dict[str, Any]
    embedded: int
    puts: int
    served: Served

    def as_json(self) -> dict[str, Any]:
        """For the results."""
        return {
            "night": self.name,
            "seconds": round(self.seconds, 2),
            "embedded": self.embedded,
            "puts": self.puts,
            "downloaded": self.served.bodies,
            "not_modified": self.served.not_modified,
            "progress": self.progress,
        }


@dataclass
class Nights:
    """The service, SQL beside it, and the shop."""

    stack: Stack
    http: httpx.Client
    sql: Sql
    site: Site

    def run(self, name: str) -> Night:
        """Import the manifest as it is now, as a mirror. ImportFailedError unless it succeeded."""
        self.site.served = Served()
        began, began_s = time.time(), time.monotonic()
        body = {"source": {"manifest": self.site.manifest_url}, "mode": "mirror"}
        answer = self.http.post(f"/galleries/{GALLERY}/imports", json=body)
        answer.raise_for_status()
        job = self._ended(answer.json()["id"])
        return Night(
            name=name,
            seconds=time.monotonic() - began_s,
            progress=job["progress"],
            embedded=int(self.sql.value(_EMBEDDED, UUID(job["id"]))),
            puts=stored_since(self.stack, began),
            served=self.site.served,
        )

    def _ended(self, job_id: str) -> dict[str, Any]:
        while True:
            self.stack.supervisor.poll()
            job: dict[str, Any] = self.http.get(f"/jobs/{job_id}", params={"wait": _WAIT_S}).json()
            if job["state"] == "succeeded":
                return job
            if job["state"] in TERMINAL:
                raise ImportFailedError(f"Job {job_id} {job['state']}: {job['progress']} {job['error']}")


def measure(nights: Nights, *, changed: int) -> list[Night]:
    """A first night, one on which nothing changed, and one on which `changed` rows did."""
    nights.http.post("/galleries", json={"name": GALLERY}).raise_for_status()
    first, idle = nights.run("first"), nights.run("nothing changed")
    nights.site.change(changed)
    return [first, idle, nights.run("delta")]
