"""An import by so many hosts' worth of workers: an ingest and an embed worker each, on a core of their own."""

import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from benchmarks.faults.watch import Sql
from cli.local.child import Child
from cli.local.supervisor import Supervisor
from core import galleries, imports, jobs, reconcile
from core.context import Context
from core.galleries import NewGallery
from core.imports import NewImport, UploadedFile
from core.models import Job, JobState, Principal, Queue
from core.settings import Settings, inherited_environment, settings_environment

PATIENCE_S = 300.0
_POLL_S = 0.1
_TOP_UP_S = 2.0
_QUEUES = (Queue.INGEST, Queue.EMBED)
_BUSY = "SELECT worker FROM work_units WHERE state = 'running' AND queue = 'embed'"


@dataclass(frozen=True)
class Run:
    """How an import by `hosts` hosts went. `busy` counts, for each embed worker, the looks that found it at work."""

    hosts: int
    seconds: float
    busy: dict[str, int] = field(default_factory=dict)

    @property
    def least_share(self) -> float:
        """The share of the work of the host that had least of it."""
        total = sum(self.busy.values())
        return min(self.busy.values()) / total if len(self.busy) == self.hosts and total else 0.0


def cores() -> list[int]:
    """Those that this process may use."""
    return sorted(os.sched_getaffinity(0))


def host(settings: Settings, number: int) -> list[Child]:
    """The worker processes of one host, which has one core."""
    env = inherited_environment() | settings_environment(settings)
    core = cores()[number % len(cores())]
    pinned = (sys.executable, "-m", "benchmarks.scaleout.pinned", str(core), sys.executable, "-m", "workers.main")
    return [
        Child(name=f"host-{number}-{queue}", argv=(*pinned, "--queues", queue.value), env=env, group="workers")
        for queue in _QUEUES
    ]


@dataclass
class Laboratory:
    """The shared services, a tenant, and the archive that every run imports into a gallery of its own."""

    ctx: Context
    principal: Principal
    archive: Path
    log_dir: Path
    runs: int = 0

    def run(self, hosts: int) -> Run:
        """Start the hosts, wait until their models are loaded, import, stop them. RuntimeError unless it succeeded."""
        children = [child for number in range(hosts) for child in host(self.ctx.settings, number)]
        with Supervisor(children, log_dir=self.log_dir) as supervisor, Sql(self.ctx.settings.database_url) as sql:
            self._wait_for(hosts, supervisor)
            began_s = time.monotonic()
            busy = self._follow(self._submit(), supervisor, sql)
            return Run(hosts, time.monotonic() - began_s, dict(busy))

    def _wait_for(self, hosts: int, supervisor: Supervisor) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            supervisor.poll()
            with self.ctx.uow() as uow:
                found = uow.workers.consumers(alive_within=timedelta(seconds=self.ctx.settings.worker_dead_after_s))
            if all(queue in found and found[queue].count == hosts for queue in _QUEUES):
                return
            time.sleep(_POLL_S)
        raise RuntimeError(f"the workers of {hosts} hosts were not ready within {PATIENCE_S:.0f} s; see {self.log_dir}")

    def _submit(self) -> Job:
        self.runs += 1
        name = f"run-{self.runs}"
        galleries.create(self.ctx, self.principal, NewGallery(name))
        with self.archive.open("rb") as stream:
            file = UploadedFile(self.archive.name, stream, "application/zip")
            return imports.submit(self.ctx, self.principal, NewImport(name, [file]))

    def _follow(self, job: Job, supervisor: Supervisor, sql: Sql) -> Counter[str]:
        busy: Counter[str] = Counter()
        topped_s = time.monotonic()
        while job.state not in jobs.TERMINAL:
            time.sleep(_POLL_S)
            supervisor.poll()
            busy.update({row["worker"] for row in sql.rows(_BUSY)})
            if time.monotonic() > topped_s + _TOP_UP_S:
                reconcile.top_up(self.ctx)
                topped_s = time.monotonic()
            job = jobs.get(self.ctx, self.principal, job.id)
        if job.state is not JobState.SUCCEEDED:
            raise RuntimeError(f"the import ended as {job.state} with {job.counters}: {job.error}")
        return busy


def alternate(laboratory: Laboratory, sizes: Sequence[int], rounds: int) -> list[Run]:
    """All sizes in turns, so that a machine that slows down slows all of them; after a run that does not count."""
    laboratory.run(max(sizes))
    return [laboratory.run(hosts) for _ in range(rounds) for hosts in sizes]
