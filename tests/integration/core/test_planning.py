"""Planning a long import gives way: to a cancel, and to a worker's stop."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from core import durable, jobs
from core.durable import WorkerSlot
from core.models import JobState, Queue, UnitKind
from tests.integration.core.importing import Shop, picture

pytestmark = pytest.mark.integration
PATIENCE_S = 20
FILES = {f"{number:02d}.png": picture("red") for number in range(12)}


class InThePlan:
    """Asked whether the worker stops, it answers by `then` from the first chunk of the plan on."""

    def __init__(self, shop: Shop, then: Callable[[], bool]) -> None:
        self._shop, self._then = shop, then
        self.answered = 0

    def __call__(self) -> bool:
        if not self._plan_is_locked():
            return False
        self.answered += 1
        return self._then()

    def _plan_is_locked(self) -> bool:
        free = "SELECT count(*) FROM (SELECT FROM work_units WHERE kind = 'plan' FOR UPDATE SKIP LOCKED) AS free"
        with self._shop.engine.connect() as connection:
            return bool(connection.execute(text(free)).scalar_one() == 0)


def plan(shop: Shop, asked: InThePlan) -> None:
    assert durable.run_one(shop.ctx, shop.handlers, WorkerSlot("worker", (Queue.INGEST,), asked, lambda: None))


def test_a_cancel_is_answered_while_a_long_import_is_planned_and_ends_the_planning(shop: Shop) -> None:
    job_id = shop.submit(FILES)

    def cancel() -> bool:
        job = threads.submit(jobs.cancel, shop.ctx, shop.principal, job_id).result(PATIENCE_S)
        return job.state is not JobState.CANCELLING

    with ThreadPoolExecutor(1) as threads:
        asked = InThePlan(shop, cancel)
        plan(shop, asked)
    assert asked.answered == 1
    assert shop.job(job_id).state is JobState.CANCELED
    assert shop.ended(job_id).counters.done == 0
    with shop.ctx.uow() as uow:
        assert uow.images.count(shop.gallery.id) == 0


def test_a_worker_that_is_asked_to_stop_hands_the_plan_back_and_nothing_is_planned_twice(shop: Shop) -> None:
    job_id = shop.submit(FILES)
    asked = InThePlan(shop, lambda: True)
    plan(shop, asked)
    assert asked.answered == 1
    with shop.ctx.uow() as uow:
        assert uow.units.open_kinds(job_id) == {UnitKind.PLAN}
        assert uow.units.due() == {Queue.INGEST: 1}
    job = shop.ended(job_id)
    assert (job.state, job.counters.total, job.counters.created) == (JobState.SUCCEEDED, len(FILES), len(FILES))
