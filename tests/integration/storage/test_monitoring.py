"""Numbers over all tenants, and that reading them does not read what has ended."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, event, text

from core.models import DEFERRED, Backlog, JobKind, JobState, NewUnit, Queue, UnitState
from core.ports import UnitOfWorkFactory
from tests.integration.storage.builders import LEASE, add_job, add_tenant, job, unit

pytestmark = pytest.mark.integration

OPEN_UNITS = "ix_work_units_open_kinds|ix_work_units_pending"
ENDED = """
    INSERT INTO work_units (id, tenant_id, job_id, kind, queue, state, size, payload, finished_at)
    SELECT gen_random_uuid(), :tenant_id, :job_id, 'fetch', 'ingest', 'done', 1, '{}', now()
    FROM generate_series(1, 20000)
"""
ENDED_JOBS = """
    INSERT INTO jobs (id, tenant_id, kind, state, stage, params, total, finished_at, expires_at)
    SELECT gen_random_uuid(), :tenant_id, 'query', 'succeeded', 'finishing', '{}', 0, now(), now()
    FROM generate_series(1, 5000)
"""
SENT = """
    INSERT INTO webhook_deliveries (job_id, state, due_at)
    SELECT id, 'delivered', now() FROM jobs WHERE finished_at IS NOT NULL
"""


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def add_units(uow_factory: UnitOfWorkFactory, *, tenant: str = "shop", **by_queue: Sequence[datetime | None]) -> None:
    with uow_factory() as uow:
        made = job(uow.api_keys.add_tenant(tenant))
        uow.jobs.add(made)
        units: list[NewUnit] = [
            unit(made, queue=Queue(queue), not_before=moment)
            for queue, moments in by_queue.items()
            for moment in moments
        ]
        uow.units.add(units)
        uow.commit()


def backlog(uow_factory: UnitOfWorkFactory) -> dict[Queue, Backlog]:
    with uow_factory(read_only=True) as uow:
        return uow.monitoring.backlog()


def finish_next(uow_factory: UnitOfWorkFactory, queue: Queue, state: UnitState) -> None:
    with uow_factory() as uow:
        claimed = uow.units.claim([queue], worker="w", lease=LEASE)
        assert claimed is not None
        if state is not UnitState.RUNNING:
            uow.units.finish(claimed.id, state)
        uow.commit()


def test_an_empty_service(uow_factory: UnitOfWorkFactory) -> None:
    assert backlog(uow_factory) == {queue: Backlog() for queue in Queue}
    with uow_factory(read_only=True) as uow:
        assert (uow.monitoring.open_jobs(), uow.monitoring.pending_deliveries()) == ({}, 0)


def test_units_in_every_state(uow_factory: UnitOfWorkFactory) -> None:
    add_units(uow_factory, ingest=[ago(500), ago(400), ago(300), ago(200), None, ago(-60), DEFERRED], query=[DEFERRED])
    for state in (UnitState.DONE, UnitState.FAILED, UnitState.RUNNING):
        finish_next(uow_factory, Queue.INGEST, state)
    found = backlog(uow_factory)
    ingest = found[Queue.INGEST]
    assert (ingest.due, ingest.deferred, ingest.running) == (2, 2, 1)
    assert 200 <= ingest.oldest_due_s < 300
    assert ingest.due_since is not None
    assert found[Queue.QUERY] == Backlog(deferred=1)
    assert found[Queue.EMBED] == Backlog()


def test_units_of_all_tenants(uow_factory: UnitOfWorkFactory) -> None:
    add_units(uow_factory, tenant="a", embed=[ago(10), ago(20)])
    add_units(uow_factory, tenant="b", embed=[ago(30)])
    embed = backlog(uow_factory)[Queue.EMBED]
    assert embed.due == 3
    assert 30 <= embed.oldest_due_s < 300


def test_the_clock_is_read_once_whatever_the_plan(uow_factory: UnitOfWorkFactory, engine: Engine) -> None:
    # Autovacuum that meets a quiet service: by its statistics Postgres would read the clock anew for each unit.
    add_units(uow_factory, embed=[None])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE work_units"))
    add_units(uow_factory, embed=[ago(seconds) for seconds in range(1, 11)])
    assert backlog(uow_factory)[Queue.EMBED].due == 11


def test_open_jobs(uow_factory: UnitOfWorkFactory) -> None:
    tenant_id = add_tenant(uow_factory)
    for _ in range(2):
        add_job(uow_factory, tenant_id)
    add_job(uow_factory, add_tenant(uow_factory, "another"), kind=JobKind.QUERY, state=JobState.RUNNING)
    ended = add_job(uow_factory, tenant_id, callback_url="https://shop.example/hook")
    with uow_factory() as uow:
        uow.jobs.set_total(ended.id, 0)
        uow.jobs.set_state(ended.id, JobState.FAILED)
        uow.commit()
    with uow_factory(read_only=True) as uow:
        assert uow.monitoring.open_jobs() == {
            (JobKind.IMPORT, JobState.QUEUED): 2,
            (JobKind.QUERY, JobState.RUNNING): 1,
        }
        assert uow.monitoring.pending_deliveries() == 1


@pytest.fixture
def statements(engine: Engine) -> Iterator[list[str]]:
    """What is sent to Postgres."""
    sent: list[str] = []

    def note(connection: Connection, cursor: object, statement: str, *rest: object) -> None:
        del connection, cursor, rest
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


def test_what_has_ended_is_not_read(uow_factory: UnitOfWorkFactory, engine: Engine, statements: list[str]) -> None:
    made = add_job(uow_factory, add_tenant(uow_factory), units=3)
    with engine.begin() as connection:
        for statement in (ENDED, ENDED_JOBS, SENT):
            connection.execute(text(statement), {"tenant_id": made.tenant_id, "job_id": made.id})
        connection.execute(text("ANALYZE work_units, jobs, webhook_deliveries"))
    statements.clear()
    with uow_factory(read_only=True) as uow:
        uow.monitoring.backlog()
        uow.monitoring.open_jobs()
        uow.monitoring.pending_deliveries()
    asked = list(statements)
    assert len(asked) == 3
    with engine.connect() as connection:
        plans = ["\n".join(connection.exec_driver_sql(f"EXPLAIN {sql}").scalars()) for sql in asked]
    for plan, partial in zip(plans, (OPEN_UNITS, "ix_jobs_open_by_gallery", "ix_webhook_deliveries_due"), strict=True):
        assert "Seq Scan" not in plan
        assert re.search(rf"Index.* (?:on|using) (?:{partial})\b", plan), plan
