"""The protocol of durable units, on real Postgres, with a handler that does as it is told."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from threading import Thread
from uuid import UUID

import pytest
from sqlalchemy import create_engine, text

from cli.local.services import RunningServices
from core import durable, jobs
from core.context import Context, SystemClock
from core.durable import WorkerSlot
from core.errors import InvalidInputError, UnavailableError
from core.gate import Gate
from core.models import ClaimedUnit, Counters, ItemOutcome, Job, JobState, NewUnit, Outcome, Queue, UnitKind
from core.ports import UnitOfWork, UnitOfWorkFactory
from storage.objects import S3ObjectStore
from tests.integration.storage import builders

pytestmark = pytest.mark.integration
ITEMS = 10
PATIENCE_S = 20


class Bell:
    """A doorbell that only counts."""

    def __init__(self) -> None:
        self.rung: list[Queue] = []

    def ring(self, queue: Queue, *, times: int = 1) -> bool:
        self.rung += [queue] * times
        return True

    def depth(self, queue: Queue) -> int | None:
        return self.rung.count(queue)

    def check(self) -> None:
        """Always there."""


@dataclass(frozen=True)
class Written:
    """A batch whose items were all created."""

    names: Sequence[str]

    def write(self, uow: UnitOfWork) -> Sequence[ItemOutcome]:
        del uow
        return [ItemOutcome(name, Outcome.CREATED) for name in self.names]

    def rings(self) -> Sequence[Queue]:
        return ()


@dataclass
class Scripted:
    """Handler and run in one: notes its batches and does `before` each of them."""

    before: Callable[[int, int], None]
    batches: list[tuple[int, int]] = field(default_factory=list)
    batch_items: int = 4

    def open(self, unit: ClaimedUnit, job: Job) -> "Scripted":
        del unit, job
        return self

    def compute(self, start: int, stop: int) -> Written:
        self.batches.append((start, stop))
        self.before(start, stop)
        return Written([f"item-{number}" for number in range(start, stop)])

    def poison(self, item: int) -> ItemOutcome:
        return ItemOutcome(f"item-{item}", Outcome.FAILED, code="poison", detail="It ends its worker.")


def nothing(start: int, stop: int) -> None:
    del start, stop


@dataclass
class Workshop:
    """A job of one unit with ITEMS items, and what it takes to run it."""

    ctx: Context
    bell: Bell
    tenant_id: UUID
    job_id: UUID

    def run(self, handler: Scripted, *, stopping: Callable[[], bool] = lambda: False) -> bool:
        slot = WorkerSlot("worker", (Queue.INGEST,), stopping, lambda: None)
        return durable.run_one(self.ctx, {UnitKind.FETCH: handler}, slot)

    def job(self) -> Job:
        with self.ctx.uow() as uow:
            job = uow.jobs.get(self.tenant_id, self.job_id)
        assert job is not None
        return job

    def expire_lease(self) -> None:
        """What the death of a worker looks like: a lease that runs out."""
        with self.ctx.uow() as uow:
            assert uow.units.claim([Queue.INGEST], worker="dying", lease=timedelta(seconds=-1)) is not None
            uow.commit()
        with self.ctx.uow() as uow:
            assert len(uow.units.free_expired()) == 1
            uow.commit()


@pytest.fixture
def workshop(uow_factory: UnitOfWorkFactory, services: RunningServices, object_store: S3ObjectStore) -> Workshop:
    bell = Bell()
    ctx = Context(uow_factory, object_store, bell, SystemClock(), services.settings)
    tenant_id = builders.add_tenant(uow_factory)
    job = builders.add_job(uow_factory, tenant_id, counters=Counters(total=ITEMS))
    with uow_factory() as uow:
        unit: NewUnit = builders.unit(job, size=ITEMS)
        uow.units.add([unit])
        uow.commit()
    return Workshop(ctx, bell, tenant_id, job.id)


def test_a_unit_runs_in_batches_and_closes_its_job(workshop: Workshop) -> None:
    handler = Scripted(nothing)
    assert workshop.run(handler)
    assert handler.batches == [(0, 4), (4, 8), (8, 10)]
    job = workshop.job()
    assert (job.state, job.counters.created, job.counters.pending) == (JobState.SUCCEEDED, ITEMS, 0)
    assert not workshop.run(handler)


def test_a_unit_goes_on_where_the_last_commit_ended_and_counts_nothing_twice(workshop: Workshop) -> None:
    def away_after_the_first(start: int, stop: int) -> None:
        del stop
        if start == 4:
            raise UnavailableError("S3 is away.")

    first = Scripted(away_after_the_first)
    workshop.run(first)
    assert workshop.job().counters.created == 4
    assert workshop.bell.rung == [Queue.INGEST]
    with workshop.ctx.uow() as uow:
        assert uow.units.due() == {}  # handed back with a delay, which is not an attempt
    wait_until_due(workshop)
    second = Scripted(nothing)
    workshop.run(second)
    assert second.batches == [(4, 8), (8, 10)]
    assert workshop.job().counters == Counters(total=ITEMS, created=ITEMS)


def wait_until_due(workshop: Workshop) -> None:
    """Until the unit is due again: its back-off is a second or two."""
    while True:
        with workshop.ctx.uow() as uow:
            if uow.units.due():
                return


def test_after_a_death_batches_begin_at_one_and_grow_again(workshop: Workshop) -> None:
    workshop.expire_lease()
    handler = Scripted(nothing)
    workshop.run(handler)
    assert handler.batches == [(0, 1), (1, 3), (3, 7), (7, 10)]


def test_an_item_that_keeps_killing_workers_is_passed_over(workshop: Workshop) -> None:
    for _ in range(durable.POISON_ATTEMPTS):
        workshop.expire_lease()
    handler = Scripted(nothing)
    workshop.run(handler)
    assert handler.batches[0] == (1, 2)
    job = workshop.job()
    assert job.state is JobState.PARTIALLY_SUCCEEDED
    assert (job.counters.created, job.counters.failed) == (ITEMS - 1, 1)
    with workshop.ctx.uow() as uow:
        page = uow.items.page(workshop.job_id, outcome=Outcome.FAILED, size=10, after=None)
    assert [(item.external_id, item.code) for item in page.items] == [("item-0", "poison")]


def test_a_worker_that_is_asked_to_stop_hands_its_unit_back_between_batches(workshop: Workshop) -> None:
    handler = Scripted(nothing)
    workshop.run(handler, stopping=lambda: len(handler.batches) == 1)
    assert handler.batches == [(0, 4)]
    assert workshop.job().state is JobState.RUNNING
    rest = Scripted(nothing)
    workshop.run(rest)
    assert rest.batches == [(4, 8), (8, 10)]
    assert workshop.job().state is JobState.SUCCEEDED


def test_a_lost_lease_writes_nothing(workshop: Workshop) -> None:
    def lose_the_lease(start: int, stop: int) -> None:
        del start, stop
        steal(workshop)

    workshop.run(Scripted(lose_the_lease))
    assert workshop.job().counters.created == 0


def steal(workshop: Workshop) -> None:
    """Somebody else holds the unit now."""
    engine = create_engine(workshop.ctx.settings.database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE work_units SET lease_token = gen_random_uuid()"))
    engine.dispose()


def test_a_cancelled_job_stops_between_batches_and_adds_up(workshop: Workshop) -> None:
    def cancel(start: int, stop: int) -> None:
        del stop
        if start == 4:
            with workshop.ctx.uow() as uow:
                jobs.cancel_locked(uow, workshop.job_id)
                uow.commit()

    workshop.run(Scripted(cancel))
    job = workshop.job()
    assert job.state is JobState.CANCELED
    assert (job.counters.created, job.counters.canceled, job.counters.pending) == (4, 6, 0)


def test_an_error_that_no_retry_mends_fails_the_job_with_its_reason(workshop: Workshop) -> None:
    def refuse(start: int, stop: int) -> None:
        del start, stop
        raise InvalidInputError("The manifest has no header.")

    workshop.run(Scripted(refuse))
    job = workshop.job()
    assert job.state is JobState.FAILED
    assert job.error == {"code": "invalid_input", "detail": "The manifest has no header."}
    assert job.counters.canceled == ITEMS


def test_a_crash_of_our_own_code_is_an_attempt(workshop: Workshop) -> None:
    def crash(start: int, stop: int) -> None:
        del start, stop
        raise ZeroDivisionError

    workshop.run(Scripted(crash))
    wait_until_due(workshop)
    after = Scripted(nothing)
    workshop.run(after)
    assert after.batches[0] == (0, 1)


def test_a_unit_is_handed_back_when_postgres_returns_and_that_is_no_attempt(workshop: Workshop) -> None:
    working, refusals = workshop.ctx.uow, iter(range(3))
    computing = False

    def away(start: int, stop: int) -> None:
        nonlocal computing
        del start, stop
        computing = True
        raise UnavailableError("Postgres is away.")

    def uow(*, read_only: bool = False) -> UnitOfWork:
        if computing and next(refusals, None) is not None:
            raise UnavailableError("Postgres is away.")
        return working(read_only=read_only)

    flaky = replace(workshop, ctx=replace(workshop.ctx, uow=uow))
    flaky.run(Scripted(away))
    wait_until_due(workshop)
    with workshop.ctx.uow() as after:
        unit = after.units.claim([Queue.INGEST], worker="next", lease=timedelta(seconds=20))
    assert unit is not None
    assert (unit.attempts, unit.batch_limit) == (0, None)


def test_a_unit_under_suspicion_runs_its_first_batch_alone(workshop: Workshop) -> None:
    workshop.expire_lease()
    gate = Gate()
    seen: list[tuple[int, bool]] = []

    def look(start: int, stop: int) -> None:
        del stop
        neighbour = Thread(target=pass_by)
        neighbour.start()
        neighbour.join(0.2 if start == 0 else None)
        seen.append((start, neighbour.is_alive()))

    def pass_by() -> None:
        with gate.pass_through(suspect=False):
            pass

    slot = WorkerSlot("worker", (Queue.INGEST,), lambda: False, lambda: None, gate)
    durable.run_one(workshop.ctx, {UnitKind.FETCH: Scripted(look)}, slot)
    assert seen == [(0, True), (1, False), (3, False), (7, False)]


@dataclass(frozen=True)
class WrittenAhead(Written):
    """A batch that adds a unit ahead of its last step, and does `then` after it."""

    job: Job
    then: Callable[[], None]

    def write_ahead(self, uow: UnitOfWork) -> Generator[None]:
        uow.units.add([builders.unit(self.job, size=1)])
        yield
        self.then()


@dataclass
class Long(Scripted):
    """All items in one batch that is long in writing."""

    batch_items: int = ITEMS
    then: Callable[[], None] = lambda: None

    def open(self, unit: ClaimedUnit, job: Job) -> "Long":
        del unit
        self.job = job
        return self

    def compute(self, start: int, stop: int) -> WrittenAhead:
        return WrittenAhead(super().compute(start, stop).names, self.job, self.then)


def test_a_cancel_need_not_wait_for_a_long_batch_which_is_then_rolled_back(workshop: Workshop) -> None:
    def cancel() -> None:
        with workshop.ctx.uow() as uow:
            jobs.cancel_locked(uow, workshop.job_id)
            uow.commit()

    with ThreadPoolExecutor(1) as threads:
        workshop.run(Long(nothing, then=lambda: threads.submit(cancel).result(PATIENCE_S)))
    job = workshop.job()
    assert job.state is JobState.CANCELED
    assert (job.counters.created, job.counters.canceled) == (0, ITEMS)
    with workshop.ctx.uow() as uow:
        assert uow.units.due() == {}
        assert uow.units.open_kinds(workshop.job_id) == frozenset()


def test_a_long_batch_that_nothing_disturbs_is_written_whole(workshop: Workshop) -> None:
    workshop.run(Long(nothing))
    assert workshop.job().counters.created == ITEMS
    with workshop.ctx.uow() as uow:
        assert uow.units.due() == {Queue.INGEST: 1}
