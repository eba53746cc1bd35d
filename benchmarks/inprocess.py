"""The service's own handlers in this process, on real Postgres, Redis and S3: what a worker does, without Celery."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.local.services import running_services
from core import durable, galleries, imports, jobs
from core.access import authenticate, issue_key
from core.context import Context
from core.durable import WorkerSlot
from core.gate import Gate
from core.imports import NewImport, UploadedFile
from core.models import Job, Principal, Queue
from storage.migrate import upgrade
from workers.wiring import build_context, build_handlers


@dataclass
class InProcess:
    """A worker of ingest and embed units that runs when it is told to."""

    ctx: Context
    principal: Principal

    def __post_init__(self) -> None:
        self._handlers = build_handlers(self.ctx, [Queue.INGEST, Queue.EMBED])
        self._gate = Gate()

    def submit(self, gallery: str, archive: Path) -> Job:
        """Make the gallery and queue an import of the archive into it."""
        galleries.create(self.ctx, self.principal, galleries.NewGallery(gallery))
        with archive.open("rb") as stream:
            file = UploadedFile(archive.name, stream, "application/zip")
            return imports.submit(self.ctx, self.principal, NewImport(gallery, [file]))

    def work(self, queue: Queue, *, threads: int) -> None:
        """Run the queue's units until none is due, as many at a time as there are threads."""
        with ThreadPoolExecutor(threads) as pool:
            for lane in [pool.submit(self._lane, queue) for _ in range(threads)]:
                lane.result()

    def job(self, job: Job) -> Job:
        """The job as it is now."""
        return jobs.get(self.ctx, self.principal, job.id)

    def _lane(self, queue: Queue) -> None:
        slot = WorkerSlot("bench", (queue,), lambda: False, lambda: None, self._gate)
        while durable.run_one(self.ctx, self._handlers, slot):
            pass


@contextmanager
def in_process(
    *, encoders: dict[str, str], adapt: Callable[[Context], Context] = lambda ctx: ctx, **changes: object
) -> Iterator[InProcess]:
    """Start the three services and migrate; the first of the encoders is the default.

    `adapt` may put something between the handlers and their ports. Other settings by name.
    """
    with running_services() as services:
        settings = services.settings.model_copy(
            update={"encoders": encoders, "default_encoder": next(iter(encoders)), **changes}
        )
        upgrade(settings.database_url)
        ctx = adapt(build_context(settings))
        key = issue_key(ctx.uow, tenant="bench", label="bench")
        yield InProcess(ctx, authenticate(ctx.uow, key))
