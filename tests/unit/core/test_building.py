"""When a generation's search structure is built."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self, cast
from uuid import UUID

import pytest

from core.building import FEEDING, build_due
from core.context import Context
from core.errors import UnavailableError
from core.ids import new_id
from core.models import Index, IndexState, UnitKind
from core.settings import Settings

GALLERY = new_id()
EXACT_BELOW = 1000


@dataclass
class Stage:
    """A unit of work over one gallery, and the builder."""

    indexes: dict[UUID, Index] = field(default_factory=dict)
    grown: dict[UUID, int] = field(default_factory=dict)
    to_come: int = 0
    built: list[UUID] = field(default_factory=list)
    away: bool = False
    in_step: bool = True

    def add(self, vectors: int, state: IndexState = IndexState.ACTIVE) -> UUID:
        made = Index(
            id=new_id(), tenant_id=new_id(), gallery_id=GALLERY, encoder="demo", state=state, in_step=self.in_step
        )
        self.indexes[made.id], self.grown[made.id] = made, vectors
        return made.id

    @property
    def context(self) -> Context:
        unused: Any = None
        settings = Settings(exact_search_below=EXACT_BELOW)
        return Context(uow=cast("Any", lambda: self), objects=unused, doorbell=unused, clock=unused, settings=settings)

    def __enter__(self) -> Self:
        if self.away:
            raise UnavailableError("Away.")
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def vectors(self) -> SimpleNamespace:
        def outgrown() -> Mapping[UUID, int]:
            return self.grown

        return SimpleNamespace(outgrown=outgrown)

    @property
    def units(self) -> SimpleNamespace:
        def items_to_come(gallery_id: UUID, kinds: frozenset[UnitKind]) -> int:
            assert (gallery_id, kinds) == (GALLERY, FEEDING)
            return self.to_come

        return SimpleNamespace(items_to_come=items_to_come)

    def build(self, index_id: UUID, *, stopping: Callable[[], bool]) -> bool:
        self.built.append(index_id)
        return not stopping()


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize(
    ("vectors", "state", "to_come", "due"),
    [
        (2000, IndexState.ACTIVE, 0, True),
        (2000, IndexState.ACTIVE, 100, True),
        (2000, IndexState.ACTIVE, 101, False),
        (2000, IndexState.BUILDING, 0, True),
        (2000, IndexState.STANDBY, 0, True),
        (2000, IndexState.DROPPED, 0, False),
        (10_001, IndexState.ACTIVE, 10**6, True),
        (10_001, IndexState.BUILDING, 10**6, False),
    ],
)
def test_a_generation_is_built_when_little_is_still_to_come_or_searching_it_has_become_unbearable(
    stage: Stage,
    vectors: int,
    state: IndexState,
    to_come: int,
    due: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    index_id = stage.add(vectors, state)
    stage.to_come = to_come
    assert build_due(stage.context, stage) == int(due)
    assert stage.built == [index_id] * due


def test_a_generation_that_does_not_take_part_in_imports_yet_has_most_before_it(stage: Stage) -> None:
    stage.in_step = False
    stage.add(2000, IndexState.BUILDING)
    assert build_due(stage.context, stage) == 0


def test_tables_that_belong_to_no_generation_are_left_alone(stage: Stage) -> None:
    stage.grown[new_id()] = 5000
    assert build_due(stage.context, stage) == 0


def test_who_is_asked_to_stop_begins_nothing(stage: Stage) -> None:
    stage.add(2000)
    assert build_due(stage.context, stage, stopping=lambda: True) == 0
    assert not stage.built


def test_a_database_that_is_away_puts_it_off(stage: Stage) -> None:
    stage.add(2000)
    stage.away = True
    assert build_due(stage.context, stage) == 0
    stage.away = False
    assert build_due(stage.context, stage) == 1
