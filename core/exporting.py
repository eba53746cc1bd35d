"""Export units: the first one cuts the gallery into parts, each other one writes a part as one Parquet file."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, cast
from uuid import UUID

from core.context import Context
from core.errors import NotFoundError
from core.exports import FORMAT, export_unit
from core.keys import export_key
from core.models import ClaimedUnit, Gallery, Image, Index, ItemOutcome, Job, NewUnit, Outcome, Queue, Vector
from core.parquet import ImageTable
from core.ports import UnitOfWork

ROW_GROUP = 4000
MEDIA_TYPE = "application/vnd.apache.parquet"


@dataclass(frozen=True, slots=True)
class Part:
    """Images with ids beyond `after` (None: from the first) up to `until`; `rows` of them when it was planned."""

    number: int
    after: str | None
    until: str
    rows: int


@dataclass(frozen=True, slots=True)
class ExportHandler:
    """Runs `export` units."""

    ctx: Context

    def open(self, unit: ClaimedUnit, job: Job) -> "_Plan | _Writing":
        """Find gallery and generation. NotFoundError when the gallery was deleted meanwhile."""
        index_id = job.params["index_id"]
        with self.ctx.uow() as uow:
            gallery = uow.galleries.by_id(job.gallery_id) if job.gallery_id else None
            index = uow.indexes.get(UUID(index_id)) if index_id else None
        if gallery is None or gallery.deleting:
            raise NotFoundError(f"The gallery `{job.gallery_name}` was deleted meanwhile.")
        if not unit.payload:
            return _Plan(self.ctx, job, gallery)
        return _Writing(self.ctx, job, gallery, index, Part(**unit.payload))


@dataclass(frozen=True, slots=True)
class _Plan:
    ctx: Context
    job: Job
    gallery: Gallery
    batch_items: int = 1

    def compute(self, start: int, stop: int) -> "_Planned":
        """Find where the parts end."""
        del start, stop
        with self.ctx.uow() as uow:
            ends = uow.images.boundaries(self.gallery.id, every=self.ctx.settings.export_rows)
        starts = [None, *(str(end) for end, _ in ends)]
        parts = [
            Part(number, after, str(end), rows)
            for number, (after, (end, rows)) in enumerate(zip(starts, ends, strict=False))
        ]
        units = [export_unit(self.job, asdict(part)) for part in parts]
        return _Planned(self.job, sum(part.rows for part in parts), units)

    def poison(self, item: int) -> ItemOutcome | None:  # noqa: ARG002 - the port's signature
        """Without a plan there is no export."""
        return None


@dataclass(frozen=True, slots=True)
class _Planned:
    job: Job
    total: int
    units: Sequence[NewUnit]

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """The parts' units, the total, and a result without files yet."""
        uow.units.add(self.units)
        uow.jobs.set_total(self.job.id, self.total)
        uow.jobs.set_result(self.job.id, {"format": FORMAT, "rows": 0, "files": []})
        return ()

    def rings(self) -> Sequence[Queue]:
        """A message a part."""
        return [unit.queue for unit in self.units]


@dataclass(frozen=True, slots=True)
class _Writing:
    """A part under its own key: written again after a death, it replaces what was there."""

    ctx: Context
    job: Job
    gallery: Gallery
    index: Index | None
    part: Part
    batch_items: int = 1

    def compute(self, start: int, stop: int) -> "_Written":
        """Read the part's images group by group into a file on disk, and store that."""
        del start, stop
        key = export_key(self.job.tenant_id, self.job.id, self.part.number)
        with tempfile.TemporaryFile() as file:
            identity = self.index.identity if self.index else None
            about = {
                "gallery": self.gallery.name,
                "index_id": str(self.index.id) if self.index else None,
                "encoder": asdict(identity) if identity else None,
            }
            with ImageTable(cast("BinaryIO", file), about=json.dumps(about)) as table:
                rows = sum(table.write(images, vectors) for images, vectors in self._groups())
            size_bytes = file.tell()
            file.seek(0)
            self.ctx.objects.put_stream(key, cast("BinaryIO", file), media_type=MEDIA_TYPE)
        return _Written(self.job, self.part, {"key": key, "rows": rows, "size_bytes": size_bytes})

    def _groups(self) -> Iterator[tuple[Sequence[Image], dict[UUID, Vector]]]:
        after, until = self.part.after, UUID(self.part.until)
        while True:
            with self.ctx.uow() as uow:
                page = uow.images.page(self.gallery.id, size=ROW_GROUP, after=after, where=None, external_id=None)
                images = [image for image in page.items if image.id <= until]
                vectors = uow.vectors.fetch(self.index.id, [image.id for image in images]) if self.index else {}
            if images:
                yield images, vectors
            if page.next_key is None or len(images) < len(page.items):
                return
            after = page.next_key

    def poison(self, item: int) -> ItemOutcome | None:  # noqa: ARG002 - the port's signature
        """An export with a part missing is none."""
        return None


@dataclass(frozen=True, slots=True)
class _Written:
    job: Job
    part: Part
    file: dict[str, Any]

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """The file in the job's result, its rows in the counters; what was deleted since planning counts as that."""
        fresh = uow.jobs.lock(self.job.id)
        known: dict[str, Any] = (fresh.result if fresh else None) or {"format": FORMAT, "rows": 0, "files": []}
        files = sorted([*known["files"], self.file], key=lambda file: str(file["key"]))
        uow.jobs.set_result(self.job.id, {**known, "rows": sum(file["rows"] for file in files), "files": files})
        written = min(self.file["rows"], self.part.rows)
        uow.jobs.count(self.job.id, {Outcome.CREATED: written, Outcome.DELETED: self.part.rows - written})
        return ()

    def rings(self) -> Sequence[Queue]:
        """Nothing follows."""
        return ()
