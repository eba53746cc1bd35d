"""Removing images by import: rows that say so, and in mirror mode what the manifest does not name.

Removals come last, in `sweep` units that wait until nothing else of the job is open, and until older imports of the
gallery have ended: then nobody is left who could bring an image back that a newer import has removed. What a mirror
import has to remove follows from the rows alone: of every image that it named it has become the last writer, or it
failed on it, and then its items say so. See docs/adr/0020.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from core.context import Context
from core.deletion import remove_vectors
from core.errors import InvalidInputError, MirrorGuardError, NotFoundError, ServiceError, UnavailableError
from core.ids import new_id
from core.imports import MIRROR
from core.items import Planned, superseded
from core.jobs import rank
from core.models import (
    DEFERRED,
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

_PAGE = 5000
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Guard:
    """What was known when a mirror import was planned.

    `before`: images of the gallery that older jobs wrote; `expected`: those of them that no row names; `unreadable`:
    rows whose external id could not be read.
    """

    before: int
    expected: int
    unreadable: int
    max_share: float

    def check(self, going: int) -> None:
        """MirrorGuardError unless `going` images may be removed. Those that appeared since planning count as before."""
        if self.unreadable:
            raise MirrorGuardError(
                f"{self.unreadable} rows could not be read, so nobody knows which images they name, and nothing was"
                " removed. Correct the rows (see the job's items) and import again."
            )
        before = self.before + max(0, going - self.expected)
        if going > self.max_share * before + _ROUNDING:
            raise MirrorGuardError(
                f"{going} of {before} images are not named any more, which is more than max_delete_share"
                f" ({self.max_share:g}) allows: nothing was removed. If that is right, import again with a larger one."
            )


class Naming:
    """Notes, while a mirror import is planned, what its rows name. Notes nothing in other modes."""

    def __init__(self, job: Job, gallery: Gallery) -> None:
        self._job, self._gallery = job, gallery
        self._is_mirror = job.params.get("mode") == MIRROR
        self._named: set[str] = set()
        self._kept = 0
        self._unreadable = 0

    def take(self, uow: UnitOfWork, chunk: Sequence[Planned]) -> None:
        """Rows that cannot be used name their image too."""
        if not self._is_mirror:
            return
        self._unreadable += sum(not item.external_id for item in chunk)
        new = {item.external_id for item in chunk if item.external_id} - self._named
        self._named |= new
        self._kept += uow.images.count_written_before(self._gallery.id, rank(self._job), external_ids=sorted(new))

    def nothing_named(self) -> ServiceError:
        """The error of an import without a row."""
        if self._is_mirror:
            return MirrorGuardError("The import names no image at all, and a mirror of nothing is an empty gallery.")
        return InvalidInputError("There is nothing to import: the files hold no picture and no manifest row.")

    def guard(self, uow: UnitOfWork) -> Guard | None:
        """What the sweep has to go by; None when there is none."""
        if not self._is_mirror:
            return None
        before = uow.images.count_written_before(self._gallery.id, rank(self._job))
        expected = max(0, before - self._kept)
        return Guard(before, expected, self._unreadable, self._job.params["max_delete_share"])


def delete_units(ctx: Context, job: Job, gallery: Gallery, external_ids: Sequence[str]) -> list[NewUnit]:
    """Units that remove these images once the rest of the job is done."""
    return list(_removals(ctx, job, gallery.id, external_ids, deferred=True))


def sweep_unit(job: Job, gallery: Gallery, guard: Guard) -> NewUnit:
    """The last unit of a mirror import: finds what to remove, and checks that it may be."""
    return _unit(job, gallery.id, {"guard": asdict(guard)}, size=1, deferred=True)


def _removals(
    ctx: Context, job: Job, gallery_id: UUID, external_ids: Sequence[str], *, deferred: bool
) -> Iterator[NewUnit]:
    size = ctx.settings.unit_items
    for start in range(0, len(external_ids), size):
        names = list(external_ids[start : start + size])
        yield _unit(job, gallery_id, {"external_ids": names}, size=len(names), deferred=deferred)


def _unit(job: Job, gallery_id: UUID, payload: dict[str, object], *, size: int, deferred: bool) -> NewUnit:
    return NewUnit(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=UnitKind.SWEEP,
        queue=Queue.INGEST,
        size=size,
        payload={"gallery_id": str(gallery_id), **payload},
        not_before=DEFERRED if deferred else None,
    )


@dataclass(frozen=True, slots=True)
class SweepHandler:
    """Runs `sweep` units."""

    ctx: Context

    def open(self, unit: ClaimedUnit, job: Job) -> "_Sweep | _Removal":
        """Look whether it may begin. UnavailableError while an older import of the gallery is open."""
        gallery_id = UUID(unit.payload["gallery_id"])
        with self.ctx.uow() as uow:
            gallery = uow.galleries.by_id(gallery_id)
            older = uow.jobs.has_open_import_before(gallery_id, rank(job), besides=job.id)
        if gallery is None or gallery.deleting:
            raise NotFoundError(f"The gallery `{job.gallery_name}` was deleted meanwhile.")
        if older:
            raise UnavailableError("An older import of this gallery has not ended yet; images are removed after it.")
        if "guard" in unit.payload:
            return _Sweep(self.ctx, job, gallery_id, Guard(**unit.payload["guard"]))
        return _Removal(self.ctx, job, gallery_id, unit.payload["external_ids"])


@dataclass(frozen=True, slots=True)
class _Sweep:
    """Finds what a mirror import has to remove."""

    ctx: Context
    job: Job
    gallery_id: UUID
    guard: Guard
    batch_items: int = 1

    def compute(self, start: int, stop: int) -> "_Sweep":
        """Everything happens in the transaction."""
        del start, stop
        return self

    def poison(self, item: int) -> ItemOutcome | None:  # noqa: ARG002 - the port's signature
        """There is no part of it to pass over."""
        return None

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Cut the removals into units. MirrorGuardError when there are too many.

        The total was fixed when the import was planned. What newer jobs have written or removed since ends as
        `unchanged`; what older ones have brought since makes the total grow.
        """
        self.guard.check(uow.images.count_unnamed(self.gallery_id, self.job.id))
        going = 0
        for page in self._pages(uow):
            going += len(page)
            uow.units.add(list(_removals(self.ctx, self.job, self.gallery_id, page, deferred=False)))
        missing = self.guard.expected - going
        if missing < 0:
            uow.jobs.grow_total(self.job.id, by=-missing)
        return [ItemOutcome("", Outcome.UNCHANGED)] * max(0, missing)

    def _pages(self, uow: UnitOfWork) -> Iterator[Sequence[str]]:
        after = ""
        while page := uow.images.unnamed(self.gallery_id, self.job.id, after=after, limit=_PAGE):
            yield page
            after = page[-1]

    def rings(self) -> Sequence[Queue]:
        """Enough messages for one worker's threads."""
        return [Queue.INGEST] * self.ctx.settings.ingest_threads


@dataclass(frozen=True, slots=True)
class _Removal:
    """Removes images by name, unless a newer job has written them."""

    ctx: Context
    job: Job
    gallery_id: UUID
    external_ids: Sequence[str]

    @property
    def batch_items(self) -> int:
        """Images a transaction."""
        return self.ctx.settings.unit_items

    def compute(self, start: int, stop: int) -> "_RemovalBatch":
        """Everything happens in the transaction."""
        return _RemovalBatch(self.job, self.gallery_id, self.external_ids[start:stop])

    def poison(self, item: int) -> ItemOutcome | None:
        """The image that cannot be removed."""
        detail = "Removing this image failed repeatedly; it is passed over."
        return ItemOutcome(self.external_ids[item], Outcome.FAILED, "", "poison", detail)


@dataclass(frozen=True, slots=True)
class _RemovalBatch:
    job: Job
    gallery_id: UUID
    external_ids: Sequence[str]

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        """Rows and their vectors in every generation, together."""
        uow.indexes.hold(self.gallery_id)
        removed = uow.images.remove_older(self.gallery_id, self.external_ids, job_id=rank(self.job))
        remove_vectors(uow, self.gallery_id, list(removed.values()))
        left = [name for name in self.external_ids if name not in removed]
        newer = uow.images.current(self.gallery_id, left) if left else {}
        kept = [superseded(name) if name in newer else _absent(name) for name in left]
        return [*(ItemOutcome(name, Outcome.DELETED) for name in removed), *kept]

    def rings(self) -> Sequence[Queue]:
        """Nothing follows."""
        return ()


def _absent(external_id: str) -> ItemOutcome:
    detail = "The gallery has no image of this external_id, so there was nothing to remove."
    return ItemOutcome(external_id, Outcome.UNCHANGED, "", "not_found", detail)
