"""States of generations, against a model of a gallery that is nothing but states and debts."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace, TracebackType
from typing import Any, Self, cast
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core import generations
from core.context import Context
from core.errors import ConflictError, InvalidInputError
from core.generations import MAX_WAITING, TRANSITIONS, Activation, NewIndex
from core.ids import new_id
from core.jobs import TERMINAL
from core.models import Gallery, Index, IndexState, Job, JobState, NewUnit, Principal
from core.settings import Settings
from tests.unit.api.fakes import NOW, FakeClock, FakeDoorbell

OWNER = Principal(tenant_id=UUID(int=1), key_id=UUID(int=2), scopes=frozenset())
SETTINGS = Settings(encoders={"demo": "demo", "better": "demo"})


@dataclass
class Store:
    """A transaction on one gallery; nothing is written unless it is committed."""

    rows: dict[UUID, Index] = field(default_factory=dict)
    owed: dict[UUID, int] = field(default_factory=dict)
    gallery: Gallery | None = None
    job: Job | None = None
    held: bool = False
    touched: list[UUID] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._before = (dict(self.rows), dict(self.owed), self.gallery, self.job)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.rows, self.owed, self.gallery, self.job = self._before
        self.held = False

    def commit(self) -> None:
        self._before = (dict(self.rows), dict(self.owed), self.gallery, self.job)

    @property
    def indexes(self) -> Any:
        def hold(gallery_id: UUID, *, alone: bool = False) -> None:
            del gallery_id
            self.held = alone

        def set_state(index_id: UUID, state: IndexState) -> None:
            assert self.held, "states change only while nobody else looks"
            assert state in TRANSITIONS[self.rows[index_id].state]
            self.rows[index_id] = replace(self.rows[index_id], state=state)

        def add(index: Index) -> None:
            assert self.held
            self.rows[index.id] = index

        live = (row for row in self.rows.values() if row.state is not IndexState.DROPPED)
        return SimpleNamespace(
            add=add,
            get=self.rows.get,
            live=lambda _: tuple(live),
            hold=hold,
            set_state=set_state,
            touch=self.touched.append,
        )

    @property
    def vectors(self) -> Any:
        return SimpleNamespace(built=lambda _: 1.0)

    @property
    def pending(self) -> Any:
        return SimpleNamespace(
            count=lambda index_id: self.owed.get(index_id, 0), clear=lambda index_id: self.owed.pop(index_id, None)
        )

    @property
    def galleries(self) -> Any:
        def update(gallery: Gallery) -> None:
            self.gallery = gallery

        def set_active(gallery_id: UUID, index: Index) -> None:
            assert self.gallery is not None
            assert self.gallery.id == gallery_id
            self.gallery = replace(self.gallery, active_index_id=index.id, encoder=index.encoder)

        return SimpleNamespace(
            get=lambda *_, lock=False: self.gallery,  # noqa: ARG005 - the port's signature
            add=update,
            set_active=set_active,
            by_id=lambda _: self.gallery,
        )

    @property
    def jobs(self) -> Any:
        def add(job: Job) -> None:
            self.job = job

        def set_state(job_id: UUID, state: JobState, *, error: object = None) -> None:
            del job_id, error
            assert not self.held, "a worker locks its job before it holds the generations"
            assert self.job is not None
            self.job = None if state in TERMINAL else replace(self.job, state=state)

        return SimpleNamespace(
            add=add, open_reindex=lambda _: self.job, lock=lambda _: self.job, set_state=set_state, start=lambda _: None
        )

    @property
    def units(self) -> Any:
        def add(units: list[NewUnit]) -> None:
            del units

        return SimpleNamespace(add=add, cancel_pending=lambda _: 0, open_kinds=lambda _: frozenset())


class Life(RuleBasedStateMachine):
    """Whatever clients, imports and workers do in whatever order."""

    @initialize()
    def create(self) -> None:
        self.store = Store()
        ctx = SimpleNamespace(uow=lambda: self.store, clock=FakeClock(), settings=SETTINGS, doorbell=FakeDoorbell())
        self.ctx = cast("Context", ctx)
        with self.store as uow:
            index = Index(new_id(), OWNER.tenant_id, new_id(), "demo", IndexState.ACTIVE, in_step=True)
            gallery = {"id": index.gallery_id, "tenant_id": OWNER.tenant_id, "name": "summer", "encoder": "demo"}
            rest = {"device": "auto", "attributes_schema": {}, "version": 1, "image_count": 0, "created_at": NOW}
            uow.rows[index.id] = index
            uow.gallery = Gallery(**gallery, **rest, active_index_id=index.id, updated_at=NOW)  # type: ignore[arg-type]
            uow.commit()

    @rule(encoder=st.sampled_from(["demo", "better", "unlisted"]), manual=st.booleans())
    def reindex(self, encoder: str, manual: bool) -> None:  # noqa: FBT001 - drawn
        running, count = self.store.job, len(self.store.rows)
        new = NewIndex("summer", encoder, Activation.MANUAL if manual else Activation.WHEN_READY)
        halves = {row.encoder: row.id for row in self.store.rows.values() if row.state is IndexState.BUILDING}
        waiting = [row for row in self.store.rows.values() if row.state in {IndexState.BUILDING, IndexState.READY}]
        self.store.touched.clear()
        try:
            job = generations.submit(self.ctx, OWNER, new)
        except InvalidInputError:
            assert encoder == "unlisted"
        except ConflictError:
            assert running is not None or (encoder not in halves and len(waiting) == MAX_WAITING)
        else:
            assert running is None
            assert self.store.touched == ([halves[encoder]] if encoder in halves else [])
            assert len(self.store.rows) == count + (encoder not in halves)
            assert self.store.rows[UUID(job.params["index_id"])].state is IndexState.BUILDING

    @rule(which=st.randoms(use_true_random=False), owed=st.integers(0, 2))
    def imports_owe_or_pay(self, which: Any, owed: int) -> None:
        live = [row.id for row in self.store.rows.values() if row.state not in {IndexState.ACTIVE, IndexState.DROPPED}]
        if live:
            self.store.owed[which.choice(live)] = owed

    @rule()
    def the_job_ends_well(self) -> None:
        if self.store.job is None:
            return
        index_id, activate = UUID(self.store.job.params["index_id"]), self.store.job.params["activate"]
        with self.store as uow:
            uow.owed[index_id] = 0
            uow.indexes.hold(uow.rows[index_id].gallery_id, alone=True)
            uow.indexes.set_state(index_id, IndexState.READY)
            if activate == Activation.WHEN_READY:
                assert uow.gallery is not None
                generations.switch(cast("Any", uow), uow.gallery, uow.rows[index_id])
            uow.job = None
            uow.commit()

    @rule()
    def the_job_fails(self) -> None:
        self.store.job = None

    @rule(which=st.randoms(use_true_random=False))
    def activate(self, which: Any) -> None:
        index = which.choice(list(self.store.rows.values()))
        allowed = index.state in {IndexState.READY, IndexState.STANDBY, IndexState.ACTIVE}
        complete = not self.store.owed.get(index.id)
        try:
            generations.activate(self.ctx, OWNER, "summer", index.id)
        except ConflictError:
            assert not (allowed and complete)
        else:
            assert allowed
            assert complete
            assert self.store.rows[index.id].state is IndexState.ACTIVE

    @rule(which=st.randoms(use_true_random=False))
    def retire(self, which: Any) -> None:
        index = which.choice(list(self.store.rows.values()))
        try:
            generations.retire(self.ctx, OWNER, "summer", index.id)
        except ConflictError:
            assert index.state is IndexState.ACTIVE
        else:
            assert self.store.rows[index.id].state is IndexState.DROPPED
            assert self.store.job is None or self.store.job.params["index_id"] != str(index.id)

    @invariant()
    def one_generation_answers_and_it_lacks_nothing(self) -> None:
        active = [row for row in self.store.rows.values() if row.state is IndexState.ACTIVE]
        assert self.store.gallery is not None
        assert [row.id for row in active] == [self.store.gallery.active_index_id]
        assert self.store.gallery.encoder == active[0].encoder
        assert not self.store.owed.get(active[0].id)

    @invariant()
    def nothing_is_owed_to_what_is_gone(self) -> None:
        gone = [row.id for row in self.store.rows.values() if row.state is IndexState.DROPPED]
        assert not any(index_id in self.store.owed for index_id in gone)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=20)


@pytest.mark.parametrize("state", IndexState)
def test_what_is_dropped_stays_dropped_and_what_answers_only_steps_back(state: IndexState) -> None:
    for before, after in ((IndexState.DROPPED, state), (IndexState.ACTIVE, state)):
        if after not in TRANSITIONS[before]:
            with pytest.raises(ConflictError, match="cannot become"):
                generations.check_transition(before, after)
    assert TRANSITIONS[IndexState.DROPPED] == frozenset()
    assert TRANSITIONS[IndexState.ACTIVE] == {IndexState.STANDBY}
