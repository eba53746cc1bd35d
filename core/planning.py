"""The first unit of an import: read the manifest or the archive's directory, and cut the work into units."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import BinaryIO, TypeAlias

from core import archives
from core.archives import Archive, Rejected
from core.context import Context
from core.errors import InvalidInputError, ItemError, NotFoundError
from core.ids import new_id
from core.imports import StoredFile
from core.manifests import Operation, Row, RowError, external_id_problem, is_manifest_name, read_manifest
from core.models import (
    Attributes,
    ClaimedUnit,
    Gallery,
    ItemOutcome,
    Job,
    NewUnit,
    Outcome,
    Queue,
    UnitKind,
)
from core.ports import UnitOfWork
from core.zipfiles import Entry

URL_SCHEMES = ("http://", "https://", "s3://")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item's bytes are: an uploaded file of `size_bytes`, or an entry of an uploaded archive."""

    key: str
    size_bytes: int
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class PlannedItem:
    """One picture to fetch. `attributes` None leaves those of an existing image as they are."""

    external_id: str
    attributes: Attributes | None
    source: str
    place: Place


Planned: TypeAlias = PlannedItem | ItemOutcome


@dataclass(frozen=True, slots=True)
class PlanHandler:
    """Runs `plan` units."""

    ctx: Context

    def open(self, unit: ClaimedUnit, job: Job) -> "_Plan":
        """Find the gallery. NotFoundError when it was deleted meanwhile."""
        with self.ctx.uow() as uow:
            gallery = uow.galleries.by_id(job.gallery_id) if job.gallery_id else None
        if gallery is None or gallery.deleting:
            raise NotFoundError(f"The gallery `{job.gallery_name}` was deleted meanwhile.")
        return _Plan(self.ctx, job, gallery, [StoredFile(**raw) for raw in unit.payload["files"]])


@dataclass(frozen=True, slots=True)
class _Plan:
    """Streams through the manifest inside one transaction: rows are never held all at once."""

    ctx: Context
    job: Job
    gallery: Gallery
    files: Sequence[StoredFile]
    batch_items: int = 1

    def compute(self, start: int, stop: int) -> "_Plan":
        """Everything happens in the transaction, which streams."""
        del start, stop
        return self

    def poison(self, item: int) -> ItemOutcome | None:  # noqa: ARG002 - the port's signature
        """Without a plan there is no import."""
        return None

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Store fetch units and the total; rows that cannot be used are outcomes already."""
        total = 0
        failed: list[ItemOutcome] = []
        with ExitStack() as stack:
            planned = without_repeats(_Sources(self.ctx, stack, self.files).items(self.gallery.attributes_schema))
            for chunk in _chunks(planned, self.ctx.settings.unit_items):
                items = [item for item in chunk if isinstance(item, PlannedItem)]
                failed += [item for item in chunk if isinstance(item, ItemOutcome)]
                total += len(chunk)
                if items:
                    uow.units.add([_fetch_unit(self.job, self.gallery, items)])
        if total == 0:
            raise InvalidInputError("There is nothing to import: the files hold no picture and no manifest row.")
        uow.jobs.set_total(self.job.id, total)
        return failed

    def rings(self) -> Sequence[Queue]:
        """Enough messages for one worker's threads; workers ring on while more is pending."""
        return [Queue.INGEST] * self.ctx.settings.ingest_threads


def _chunks(planned: Iterable[Planned], size: int) -> Iterator[list[Planned]]:
    rows = iter(planned)
    while chunk := list(itertools.islice(rows, size)):
        yield chunk


def _fetch_unit(job: Job, gallery: Gallery, items: Sequence[PlannedItem]) -> NewUnit:
    return NewUnit(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=UnitKind.FETCH,
        queue=Queue.INGEST,
        size=len(items),
        payload={"gallery_id": str(gallery.id), "items": [asdict(item) for item in items]},
    )


def planned_item(raw: dict[str, object]) -> PlannedItem:
    """A planned item back from a unit's payload."""
    place = raw["place"]
    attributes = raw["attributes"]
    if not isinstance(place, dict) or not isinstance(attributes, dict | None):
        raise TypeError(raw)
    entry = Entry(**place["entry"]) if place["entry"] else None
    return PlannedItem(
        str(raw["external_id"]), attributes, str(raw["source"]), Place(place["key"], place["size_bytes"], entry)
    )


def without_repeats(planned: Iterable[Planned]) -> Iterator[Planned]:
    """The first row of an external id counts; later ones fail, so that the outcome does not depend on timing."""
    seen: set[str] = set()
    for item in planned:
        if isinstance(item, PlannedItem) and item.external_id in seen:
            detail = "An earlier row or file of this import has the same external_id and was used; give each its own."
            yield _failed(item.external_id, item.source, "duplicate_external_id", detail)
            continue
        if isinstance(item, PlannedItem):
            seen.add(item.external_id)
        yield item


def _failed(external_id: str, source: str, code: str, detail: str) -> ItemOutcome:
    return ItemOutcome(external_id=external_id, outcome=Outcome.FAILED, source=source, code=code, detail=detail)


def _entry_place(file: StoredFile, entry: Entry) -> Place:
    return Place(file.key, file.size_bytes, entry)


class _Sources:
    """The uploaded files of an import: pictures, archives, and at most one manifest."""

    def __init__(self, ctx: Context, stack: ExitStack, files: Sequence[StoredFile]) -> None:
        self._ctx = ctx
        self._stack = stack
        self._archives = [(file, self._open_archive(file)) for file in files if file.filename.lower().endswith(".zip")]
        self._pictures = {
            archives.normalise(file.filename): file
            for file in files
            if not file.filename.lower().endswith(".zip") and not is_manifest_name(file.filename)
        }
        self._manifests = [file for file in files if is_manifest_name(file.filename)]
        self._repeated = len(files) - len(self._archives) - len(self._manifests) - len(self._pictures)

    def _open_archive(self, file: StoredFile) -> Archive:
        settings = self._ctx.settings
        limits = archives.Limits(max_entries=settings.max_archive_entries, max_ratio=settings.max_archive_ratio)
        return archives.open_zip(self._stack.enter_context(self._ctx.objects.open(file.key)), limits)

    def items(self, schema: dict[str, str]) -> Iterator[Planned]:
        """Rows of the manifest if there is one; else every file and entry is an item of its own."""
        if self._repeated:
            raise InvalidInputError("Two uploaded files have the same name; give each its own, or send a ZIP.")
        inner = [(file, archive) for file, archive in self._archives if archive.manifest is not None]
        if len(self._manifests) + len(inner) > 1:
            raise InvalidInputError("There is more than one manifest; send one .csv or .jsonl per import.")
        if self._manifests:
            file = self._manifests[0]
            stream = self._stack.enter_context(self._ctx.objects.open(file.key))
            yield from self._rows(stream, file.filename, schema)
        elif inner:
            file, archive = inner[0]
            entry = archive.manifest
            if entry is not None:
                # The manifest streams while rows look entries up, so it reads through a file of its own.
                manifest = self._open_archive(file).open(entry)
                yield from self._rows(manifest, f"{file.filename}/{entry.name}", schema)
        else:
            yield from self._loose()

    def _rows(self, stream: BinaryIO, name: str, schema: dict[str, str]) -> Iterator[Planned]:
        try:
            for row in read_manifest(stream, name, schema=schema):
                source = f"{name}:{row.line}"
                if isinstance(row, RowError):
                    yield _failed(row.external_id, source, row.code, row.detail)
                else:
                    yield self._row(row, source)
        except ItemError as error:
            raise InvalidInputError(f"The manifest {name} cannot be read to its end: {error.detail}") from error

    def _row(self, row: Row, source: str) -> Planned:
        if row.operation is Operation.DELETE:
            detail = "Deleting by manifest is not supported yet; use DELETE /galleries/{gallery}/images/{image_id}."
            return _failed(row.external_id, source, "unsupported_operation", detail)
        try:
            return PlannedItem(row.external_id, row.attributes, source, self._find(row.image))
        except ItemError as error:
            return _failed(row.external_id, source, error.item_code, error.detail)

    def _find(self, image: str) -> Place:
        if image.lower().startswith(URL_SCHEMES):
            raise ItemError("unsupported_source", "URLs and s3:// keys are not fetched yet; send the file itself.")
        missing: ItemError | None = None
        for file, archive in self._archives:
            try:
                return _entry_place(file, archive.find(image))
            except ItemError as error:
                missing = error
        uploaded = self._pictures.get(archives.normalise(image))
        if uploaded is not None:
            return Place(uploaded.key, uploaded.size_bytes)
        raise missing or ItemError("missing_file", f"No uploaded file is named {image!r}; send it with the manifest.")

    def _loose(self) -> Iterator[Planned]:
        for file, archive in self._archives:
            for item in archive.items():
                if isinstance(item, Rejected):
                    yield _failed(item.name, f"{file.filename}/{item.name}", item.code, item.detail)
                else:
                    yield PlannedItem(item.name, None, f"{file.filename}/{item.name}", _entry_place(file, item))
        for name, file in self._pictures.items():
            problem = external_id_problem(name)
            if problem:
                yield _failed(name, name, "bad_external_id", f"{problem}.")
            else:
                yield PlannedItem(name, None, name, Place(file.key, file.size_bytes))
