"""What a mirror import removes, counted against a model of the gallery that is nothing but names and ranks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Self, cast
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.context import Context
from core.errors import InvalidInputError, MirrorGuardError, UnavailableError
from core.ids import new_id
from core.items import Place, Planned, PlannedDelete, PlannedItem, failed
from core.jobs import rank
from core.mirror import Guard, Naming, SweepHandler, delete_units, sweep_unit
from core.models import (
    DEFERRED,
    ClaimedUnit,
    Counters,
    Device,
    Gallery,
    ItemOutcome,
    Job,
    JobKind,
    JobStage,
    JobState,
    NewUnit,
    Outcome,
)
from core.ports import UnitOfWork
from core.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OLDER, MIRROR, NEWER = (UUID(int=number) for number in (1, 2, 3))
SETTINGS = Settings(unit_items=3)
NAMES = [f"sku-{number}" for number in range(12)]


@dataclass
class Books:
    """A unit of work over one gallery: external id -> rank of the last writer."""

    writers: dict[str, UUID]
    items: set[str] = field(default_factory=set)
    units: list[NewUnit] = field(default_factory=list)
    total: int = 0
    older_open: bool = False

    def __post_init__(self) -> None:
        self.images = self.jobs = self.galleries = self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to roll back."""

    def by_id(self, gallery_id: UUID) -> Gallery:
        del gallery_id
        return GALLERY

    def has_open_import_before(self, *_: object, **__: object) -> bool:
        return self.older_open

    def grow_total(self, job_id: UUID, *, by: int) -> None:
        del job_id
        self.total += by

    def add(self, units: Sequence[NewUnit]) -> None:
        self.units += units

    def count_written_before(self, _: UUID, job_id: UUID, *, external_ids: Sequence[str] | None = None) -> int:
        asked = self.writers if external_ids is None else [name for name in external_ids if name in self.writers]
        assert external_ids is None or len(set(external_ids)) == len(external_ids)
        return sum(self.writers[name] < job_id for name in asked)

    def unnamed(self, _: UUID, job_id: UUID, *, after: str, limit: int) -> tuple[str, ...]:
        found = (name for name, writer in self.writers.items() if writer < job_id and name not in self.items)
        return tuple(sorted(name for name in found if name > after)[:limit])

    def count_unnamed(self, gallery_id: UUID, job_id: UUID) -> int:
        return len(self.unnamed(gallery_id, job_id, after="", limit=10**6))

    def remove_older(self, _: UUID, external_ids: Sequence[str], *, job_id: UUID) -> dict[str, UUID]:
        going = [name for name in external_ids if name in self.writers and self.writers[name] <= job_id]
        return {name: self.writers.pop(name) for name in going}

    def current(self, _: UUID, external_ids: Sequence[str]) -> Mapping[str, UUID]:
        return {name: self.writers[name] for name in external_ids if name in self.writers}

    @property
    def uow(self) -> UnitOfWork:
        both = SimpleNamespace(**dict.fromkeys(("images", "jobs", "galleries", "units"), self))
        both.indexes = SimpleNamespace(live=lambda _: (), hold=lambda _: None)
        return cast("UnitOfWork", both)


GALLERY = Gallery(
    id=new_id(),
    tenant_id=new_id(),
    name="g",
    encoder="demo",
    device=Device.AUTO,
    attributes_schema={},
    active_index_id=None,
    version=1,
    image_count=0,
    created_at=NOW,
    updated_at=NOW,
)


def job(share: float = 1.0, *, mode: str = "mirror", **params: Any) -> Job:
    return Job(
        id=MIRROR,
        tenant_id=GALLERY.tenant_id,
        kind=JobKind.IMPORT,
        state=JobState.RUNNING,
        stage=JobStage.PLANNING,
        gallery_id=GALLERY.id,
        gallery_name="g",
        params={"mode": mode, "max_delete_share": share, **params},
        counters=Counters(),
        result=None,
        error=None,
        warnings=(),
        version=1,
        created_at=NOW,
        started_at=NOW,
        finished_at=None,
        expires_at=NOW,
    )


def context(books: Books) -> Context:
    def begin() -> Any:
        found = books.uow
        return _Entered(found)

    return cast("Context", SimpleNamespace(uow=begin, settings=SETTINGS))


@dataclass
class _Entered:
    uow: UnitOfWork

    def __enter__(self) -> UnitOfWork:
        return self.uow

    def __exit__(self, *_: object) -> None:
        """Nothing to roll back."""


def item(name: str) -> PlannedItem:
    return PlannedItem(name, None, "m:1", Place("key", 1))


def run_units(books: Books, of: Job) -> list[ItemOutcome]:
    """Every sweep unit, in order, those that are added meanwhile too."""
    ctx = context(books)
    outcomes: list[ItemOutcome] = []
    while books.units:
        unit = books.units.pop(0)
        claimed = ClaimedUnit(
            id=unit.id,
            tenant_id=unit.tenant_id,
            job_id=unit.job_id,
            kind=unit.kind,
            queue=unit.queue,
            size=unit.size,
            payload=unit.payload,
            cursor=0,
            attempts=0,
            batch_limit=None,
            lease_token=new_id(),
        )
        run = SweepHandler(ctx).open(claimed, of)
        for start in range(0, unit.size, 2):
            outcomes += run.compute(start, min(unit.size, start + 2)).write(books.uow)
    return outcomes


@dataclass(frozen=True)
class Story:
    """What the gallery held, what the manifest said, and what others did until the sweep."""

    stored: dict[str, UUID]
    rows: dict[str, str]
    share: float
    newer_writes: set[str]
    removed_by_others: set[str]
    brought_by_older: set[str]


names = st.sets(st.sampled_from(NAMES), max_size=6)
stories = st.builds(
    Story,
    stored=st.dictionaries(st.sampled_from(NAMES), st.sampled_from([OLDER, NEWER])),
    rows=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["ok", "failed", "delete"]), min_size=1),
    share=st.floats(0, 1),
    newer_writes=names,
    removed_by_others=names,
    brought_by_older=names,
)


def planned(story: Story) -> list[Planned]:
    return [planned_row(name, kind) for name, kind in story.rows.items()]


def planned_row(name: str, kind: str) -> Planned:
    if kind == "delete":
        return PlannedDelete(name, "m:1")
    return item(name) if kind == "ok" else failed(name, "m:1", "missing_file", "It is not there.")


def carried_out(story: Story, books: Books, of: Job) -> int:
    """Plan, then all that happens until the sweep; returns the items that have ended by then."""
    naming = Naming(of, GALLERY)
    rows = planned(story)
    for start in range(0, len(rows), 2):
        naming.take(books.uow, rows[start : start + 2])
    guard = naming.guard(books.uow)
    assert guard is not None
    deletes = [name for name, kind in story.rows.items() if kind == "delete"]
    books.add([*delete_units(context(books), of, GALLERY, deletes), sweep_unit(of, GALLERY, guard)])
    assert {unit.not_before for unit in books.units} == {DEFERRED}
    books.total = len(rows) + guard.expected
    for name in story.brought_by_older:
        if books.writers.get(name, OLDER) <= OLDER:
            books.writers[name] = OLDER
    for name, kind in story.rows.items():
        if kind == "ok" and books.writers.get(name, OLDER) <= of.id:
            books.writers[name] = of.id
        if kind == "failed":
            books.items.add(name)
    for name in story.removed_by_others:
        books.writers.pop(name, None)
    for name in story.newer_writes:
        books.writers[name] = NEWER
    return len(rows) - len(deletes)


@given(stories)
@settings(max_examples=200)
def test_exactly_what_nobody_names_goes_and_everything_adds_up(story: Story) -> None:
    books = Books(dict(story.stored))
    of = job(story.share)
    ended = carried_out(story, books, of)
    before = dict(books.writers)
    named = {name for name, kind in story.rows.items() if kind != "delete"}
    deleted_by_row = {
        name for name, kind in story.rows.items() if kind == "delete" and before.get(name, NEWER) <= MIRROR
    }
    unnamed = {name for name, writer in before.items() if writer < MIRROR} - named - deleted_by_row
    try:
        outcomes = run_units(books, of)
    except MirrorGuardError:
        assert set(before) - set(books.writers) == deleted_by_row
        assert len(unnamed) > 0
        return
    assert set(before) - set(books.writers) == unnamed | deleted_by_row
    assert ended + len(outcomes) == books.total
    counted = [one.outcome for one in outcomes]
    assert counted.count(Outcome.DELETED) == len(unnamed) + len(deleted_by_row)
    assert set(counted) <= {Outcome.DELETED, Outcome.UNCHANGED}


@given(stories)
@settings(max_examples=100)
def test_without_others_the_total_is_right_from_the_beginning(story: Story) -> None:
    quiet = Story(story.stored, story.rows, 1.0, set(), set(), set())
    books = Books(dict(quiet.stored))
    of = job()
    ended = carried_out(quiet, books, of)
    planned_total = books.total
    outcomes = run_units(books, of)
    assert books.total == planned_total == ended + len(outcomes)
    assert "" not in {one.external_id for one in outcomes}


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 100))
def test_the_guard_lets_at_most_the_share_go(before: int, going: int, percent: int) -> None:
    going = min(going, before)
    guard = Guard(before=before, expected=going, unreadable=0, max_share=percent / 100)
    if 100 * going <= percent * before:
        guard.check(going)
    else:
        with pytest.raises(MirrorGuardError, match=f"{going} of {before}"):
            guard.check(going)


def test_a_row_that_could_not_be_read_stops_every_removal() -> None:
    naming = Naming(job(), GALLERY)
    books = Books({"a": OLDER, "b": OLDER})
    naming.take(books.uow, [item("a"), failed("", "m:2", "bad_row", "It is no JSON.")])
    guard = naming.guard(books.uow)
    assert guard is not None
    with pytest.raises(MirrorGuardError, match="1 rows could not be read"):
        guard.check(0)


def test_other_modes_note_nothing() -> None:
    naming = Naming(job(mode="upsert"), GALLERY)
    naming.take(cast("UnitOfWork", None), [item("a")])
    assert naming.guard(cast("UnitOfWork", None)) is None
    assert isinstance(naming.nothing_named(), InvalidInputError)
    assert isinstance(Naming(job(), GALLERY).nothing_named(), MirrorGuardError)


def test_removals_wait_for_older_imports() -> None:
    books = Books({"a": OLDER}, older_open=True)
    books.add(delete_units(context(books), job(), GALLERY, ["a"]))
    with pytest.raises(UnavailableError):
        run_units(books, job())
    assert books.writers == {"a": OLDER}


def test_a_retry_ranks_as_the_import_that_failed() -> None:
    assert rank(job()) == MIRROR
    assert rank(job(rank=str(OLDER))) == OLDER
