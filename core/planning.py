"""The first unit of an import: read the manifest or the archive's directory, and cut the work into units."""

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from uuid import UUID

from core import mirror
from core.addresses import bucket_items, check_address
from core.buckets import ImportPrefixes, import_prefixes, parse_s3
from core.context import Context
from core.errors import ItemError, NotFoundError
from core.imports import StoredFile, verify
from core.ingest import fetch_unit
from core.items import Planned, PlannedDelete, PlannedItem, Remote, failed, fetch_failed, planned_item
from core.models import (
    ClaimedUnit,
    Gallery,
    ItemOutcome,
    Job,
    Outcome,
    Queue,
)
from core.ports import UnitOfWork
from core.reading import Remotes
from core.sources import Sources, fetch_manifest, unpack

_FAILED_PAGE = 1000


@dataclass(frozen=True, slots=True)
class PlanHandler:
    """Runs `plan` units."""

    ctx: Context
    remotes: Remotes

    def open(self, unit: ClaimedUnit, job: Job) -> "_Plan":
        """Find the gallery. NotFoundError when it was deleted meanwhile."""
        with self.ctx.uow() as uow:
            gallery = uow.galleries.by_id(job.gallery_id) if job.gallery_id else None
            tenant = uow.api_keys.tenant_name(job.tenant_id)
        if gallery is None or gallery.deleting:
            raise NotFoundError(f"The gallery `{job.gallery_name}` was deleted meanwhile.")
        files = [StoredFile(**raw) for raw in unit.payload["files"]]
        return _Plan(self.ctx, job, gallery, files, self.remotes, import_prefixes(self.ctx.settings, tenant))


@dataclass(frozen=True, slots=True)
class _Plan:
    """An import to be cut into units."""

    ctx: Context
    job: Job
    gallery: Gallery
    files: Sequence[StoredFile]
    remotes: Remotes
    prefixes: ImportPrefixes
    batch_items: int = 1

    def compute(self, start: int, stop: int) -> "_Cut":
        """Fetch, unpack and open what has to be; the rows are read in the transaction, and never held all at once."""
        del start, stop
        if "retry_of" in self.job.params:
            retried = UUID(self.job.params["retry_of"])
            return _Cut(self.ctx, self.job, self.gallery, lambda uow: _failed_items(uow, retried, self.prefixes))
        if "s3_prefix" in self.job.params:
            prefix = parse_s3(self.job.params["s3_prefix"])
            return _Cut(self.ctx, self.job, self.gallery, lambda _: bucket_items(self.remotes.buckets, prefix))
        if "manifest" in self.job.params:
            files = [fetch_manifest(self.ctx, self.job, self.remotes)]
        else:
            verify(self.ctx, self.files)
            files = unpack(self.ctx, self.job, self.files)
        stack = ExitStack()
        sources = Sources(self.ctx, stack, files, prefixes=self.prefixes)
        schema = self.gallery.attributes_schema
        return _Cut(self.ctx, self.job, self.gallery, lambda _: sources.items(schema), stack)

    def poison(self, item: int) -> ItemOutcome | None:  # noqa: ARG002 - the port's signature
        """Without a plan there is no import."""
        return None


@dataclass(slots=True)
class _Cut:
    """Streams through the rows inside one transaction: either all of them are planned, or none is."""

    ctx: Context
    job: Job
    gallery: Gallery
    rows: Callable[[UnitOfWork], Iterator[Planned]]
    stack: ExitStack = field(default_factory=ExitStack)
    lasting: list[ItemOutcome] = field(default_factory=list)
    total: int = 0

    def write_ahead(self, uow: UnitOfWork) -> Generator[None]:
        """Store the units, a chunk of rows a step."""
        naming = mirror.Naming(self.job, self.gallery)
        deletes: list[str] = []
        with self.stack:
            for chunk in _chunks(without_repeats(self.rows(uow)), self.ctx.settings.unit_items):
                items = [item for item in chunk if isinstance(item, PlannedItem)]
                deletes += [item.external_id for item in chunk if isinstance(item, PlannedDelete)]
                self.lasting += [item for item in chunk if isinstance(item, ItemOutcome)]
                self.total += len(chunk)
                naming.take(uow, chunk)
                if items:
                    uow.units.add([fetch_unit(self.job, self.gallery, items)])
                yield
        if self.total == 0:
            raise naming.nothing_named()
        uow.units.add(mirror.delete_units(self.ctx, self.job, self.gallery, deletes))
        guard = naming.guard(uow)
        if guard is not None:
            uow.units.add([mirror.sweep_unit(self.job, self.gallery, guard)])
            self.total += guard.expected

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Store the total; rows that cannot be used are outcomes already."""
        uow.jobs.set_total(self.job.id, self.total)
        return self.lasting

    def rings(self) -> Sequence[Queue]:
        """Enough messages for one worker's threads; workers ring on while more is pending."""
        return [Queue.INGEST] * self.ctx.settings.ingest_threads


def _chunks(planned: Iterable[Planned], size: int) -> Iterator[list[Planned]]:
    rows = iter(planned)
    while chunk := list(itertools.islice(rows, size)):
        yield chunk


def without_repeats(planned: Iterable[Planned]) -> Iterator[Planned]:
    """The first row of an external id counts; later ones fail, so that the outcome does not depend on timing."""
    seen: set[str] = set()
    for item in planned:
        if isinstance(item, ItemOutcome):
            yield item
        elif item.external_id in seen:
            detail = "An earlier row or file of this import has the same external_id and was used; give each its own."
            yield failed(item.external_id, item.source, "duplicate_external_id", detail)
        else:
            seen.add(item.external_id)
            yield item


def _failed_items(uow: UnitOfWork, job_id: UUID, prefixes: ImportPrefixes) -> Iterator[Planned]:
    """What failed in a job: to be fetched again where that can help, else with the same outcome as before."""
    after: str | None = None
    while True:
        page = uow.items.page(job_id, outcome=Outcome.FAILED, size=_FAILED_PAGE, after=after)
        for item in page.items:
            yield item if item.planned is None else _planned_again(planned_item(item.planned), prefixes)
        after = page.next_key
        if after is None:
            return


def _planned_again(item: PlannedItem, prefixes: ImportPrefixes) -> Planned:
    """The operator may have closed since what was open to the first import; a retry may find it open again."""
    try:
        if isinstance(item.place, Remote):
            check_address(item.place.url, prefixes)
    except ItemError as error:
        return fetch_failed(item, error.item_code, error.detail)
    return item
