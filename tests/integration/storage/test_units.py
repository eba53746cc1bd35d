import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from core.errors import LeaseLostError
from core.ids import new_id
from core.models import ClaimedUnit, Job, Queue, UnitKind, UnitState, WaitingFor, WorkerBeat
from core.ports import UnitOfWorkFactory
from storage.repositories.units import SqlUnits
from storage.transaction import Transaction
from tests.integration.storage.builders import LEASE, add_gallery, add_job, add_tenant, job, unit

pytestmark = pytest.mark.integration

NO_TIME = timedelta(0)
EXPIRED = timedelta(seconds=-1)


def claim(
    uow_factory: UnitOfWorkFactory, *queues: Queue, lease: timedelta = LEASE, worker: str = "w"
) -> ClaimedUnit | None:
    with uow_factory() as uow:
        claimed = uow.units.claim(queues or (Queue.INGEST,), worker=worker, lease=lease)
        uow.commit()
    return claimed


def claimed_one(uow_factory: UnitOfWorkFactory, *, lease: timedelta = LEASE) -> ClaimedUnit:
    claimed = claim(uow_factory, lease=lease)
    assert claimed is not None
    return claimed


def test_two_workers_never_claim_the_same_unit(uow_factory: UnitOfWorkFactory) -> None:
    for name in ("a", "b", "c"):
        add_job(uow_factory, add_tenant(uow_factory, name), units=70)
    start = threading.Barrier(2)

    def work(worker: str) -> list[ClaimedUnit]:
        start.wait()
        mine = []
        while (claimed := claim(uow_factory, worker=worker)) is not None:
            mine.append(claimed)
        return mine

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(work, ("first", "second"))
    ids = [each.id for each in (*first, *second)]
    assert first
    assert second
    assert len(ids) == len(set(ids)) == 210
    assert len({each.lease_token for each in (*first, *second)}) == 210


def test_a_claimed_unit_is_what_was_added(uow_factory: UnitOfWorkFactory) -> None:
    with uow_factory() as uow:
        made = job(uow.api_keys.add_tenant("shop"))
        uow.jobs.add(made)
        added = unit(made, kind=UnitKind.EMBED, queue=Queue.EMBED, size=7, payload={"rows": [1, "é"]})
        uow.units.add([added])
        uow.commit()
    claimed = claim(uow_factory, Queue.EMBED)
    assert claimed is not None
    assert claimed == ClaimedUnit(
        id=added.id,
        tenant_id=added.tenant_id,
        job_id=made.id,
        kind=UnitKind.EMBED,
        queue=Queue.EMBED,
        size=7,
        payload={"rows": [1, "é"]},
        cursor=0,
        attempts=0,
        batch_limit=None,
        lease_token=claimed.lease_token,
    )


def test_tenants_with_fewest_running_units_come_first(uow_factory: UnitOfWorkFactory) -> None:
    big, small = add_tenant(uow_factory, "big"), add_tenant(uow_factory, "small")
    add_job(uow_factory, big, units=50)
    add_job(uow_factory, small, units=2)
    claimed = [claimed_one(uow_factory).tenant_id for _ in range(6)]
    assert Counter(claimed[:4]) == {big: 2, small: 2}
    assert claimed[0] == big  # nobody runs anything: then the oldest
    assert claimed[4:] == [big, big]


def test_the_oldest_unit_of_a_tenant_comes_first_over_all_queues(uow_factory: UnitOfWorkFactory) -> None:
    with uow_factory() as uow:
        made = job(uow.api_keys.add_tenant("shop"))
        uow.jobs.add(made)
        older, newer = unit(made, queue=Queue.EMBED_GPU), unit(made, queue=Queue.EMBED)
        uow.units.add([newer, older])
        uow.commit()
    first = claim(uow_factory, Queue.EMBED, Queue.EMBED_GPU)
    second = claim(uow_factory, Queue.EMBED, Queue.EMBED_GPU)
    assert [first and first.id, second and second.id] == [older.id, newer.id]
    assert claim(uow_factory, Queue.EMBED, Queue.EMBED_GPU) is None


def test_only_due_units_of_the_queues_are_claimed(uow_factory: UnitOfWorkFactory) -> None:
    with uow_factory() as uow:
        made = job(uow.api_keys.add_tenant("shop"))
        uow.jobs.add(made)
        later = datetime.now(UTC) + timedelta(hours=1)
        due = unit(made, not_before=datetime.now(UTC) - timedelta(hours=1))
        uow.units.add([unit(made, not_before=later), unit(made, queue=Queue.QUERY), due])
        uow.commit()
    with uow_factory() as uow:
        assert uow.units.due() == {Queue.INGEST: 1, Queue.QUERY: 1}
    assert claimed_one(uow_factory).id == due.id
    assert claim(uow_factory) is None


def test_a_batch_moves_the_cursor_and_forgets_attempts(uow_factory: UnitOfWorkFactory) -> None:
    add_job(uow_factory, add_tenant(uow_factory), units=1)
    claimed_one(uow_factory, lease=EXPIRED)
    with uow_factory() as uow:
        uow.units.free_expired()
        uow.commit()
    held = claimed_one(uow_factory)
    assert (held.attempts, held.batch_limit, held.cursor) == (1, 1, 0)
    with uow_factory() as uow:
        uow.units.lock(held.id, held.lease_token)
        uow.units.advance(held.id, cursor=4, batch_limit=None)
        assert uow.units.release(held.id, held.lease_token, delay=NO_TIME)
        uow.commit()
    again = claimed_one(uow_factory)
    assert again == replace(held, attempts=0, batch_limit=None, cursor=4, lease_token=again.lease_token)


def test_whoever_lost_the_lease_writes_nothing(uow_factory: UnitOfWorkFactory) -> None:
    add_job(uow_factory, add_tenant(uow_factory), units=1)
    lost = claimed_one(uow_factory, lease=EXPIRED)
    with uow_factory() as uow:
        assert uow.units.free_expired() == (lost.id,)
        uow.commit()
    assert claimed_one(uow_factory).id == lost.id
    for token in (lost.lease_token, new_id()):
        with uow_factory() as uow:
            with pytest.raises(LeaseLostError):
                uow.units.lock(lost.id, token)
            assert not uow.units.renew(lost.id, token, lease=LEASE)
            assert not uow.units.release(lost.id, token, delay=NO_TIME)
            assert not uow.units.strike(lost.id, token, delay=NO_TIME)


def test_a_renewed_lease_is_not_freed(uow_factory: UnitOfWorkFactory) -> None:
    add_job(uow_factory, add_tenant(uow_factory), units=1)
    held = claimed_one(uow_factory, lease=EXPIRED)
    with uow_factory() as uow:
        assert uow.units.renew(held.id, held.lease_token, lease=LEASE)
        uow.commit()
    with uow_factory() as uow:
        assert uow.units.free_expired() == ()
        uow.units.lock(held.id, held.lease_token)


def test_a_unit_whose_batch_is_being_written_is_not_freed(uow_factory: UnitOfWorkFactory) -> None:
    add_job(uow_factory, add_tenant(uow_factory), units=1)
    held = claimed_one(uow_factory, lease=EXPIRED)
    with uow_factory() as writing, uow_factory() as reconciler:
        writing.units.lock(held.id, held.lease_token)
        assert reconciler.units.free_expired() == ()


def test_a_strike_counts_and_delays(uow_factory: UnitOfWorkFactory) -> None:
    add_job(uow_factory, add_tenant(uow_factory), units=1)
    held = claimed_one(uow_factory)
    with uow_factory() as uow:
        assert uow.units.strike(held.id, held.lease_token, delay=timedelta(hours=1))
        uow.commit()
    assert claim(uow_factory) is None
    with uow_factory() as uow:
        assert uow.units.due() == {}


def test_released_units_are_no_attempts(uow_factory: UnitOfWorkFactory) -> None:
    add_job(uow_factory, add_tenant(uow_factory), units=1)
    held = claimed_one(uow_factory)
    with uow_factory() as uow:
        assert uow.units.release(held.id, held.lease_token, delay=NO_TIME)
        uow.commit()
    again = claimed_one(uow_factory)
    assert (again.attempts, again.batch_limit) == (0, None)
    assert again.lease_token != held.lease_token


def test_items_to_come_are_those_of_open_units_of_all_jobs_of_a_gallery(uow_factory: UnitOfWorkFactory) -> None:
    tenant_id = add_tenant(uow_factory)
    summer = add_gallery(uow_factory, tenant_id)
    for gallery_id in (summer.id, summer.id, None):
        add_job(uow_factory, tenant_id, units=2, gallery_id=gallery_id)
    held = claimed_one(uow_factory)
    feeding = {UnitKind.FETCH, UnitKind.EMBED}
    with uow_factory() as uow:
        assert uow.units.items_to_come(summer.id, feeding) == 4 * held.size
        uow.units.advance(held.id, cursor=3, batch_limit=None)
        assert uow.units.items_to_come(summer.id, feeding) == 4 * held.size - 3
        uow.units.finish(held.id, UnitState.DONE)
        assert uow.units.items_to_come(summer.id, feeding) == 3 * held.size
        assert uow.units.items_to_come(summer.id, {UnitKind.SEARCH}) == 0


def test_finished_and_canceled_units_are_closed(uow_factory: UnitOfWorkFactory) -> None:
    made = add_job(uow_factory, add_tenant(uow_factory), units=3)
    held = claimed_one(uow_factory)
    with uow_factory() as uow:
        assert uow.units.open_kinds(made.id) == {UnitKind.FETCH}
        assert uow.units.cancel_pending(made.id) == 2
        assert uow.units.open_kinds(made.id) == {UnitKind.FETCH}
        uow.units.finish(held.id, UnitState.DONE)
        assert uow.units.open_kinds(made.id) == frozenset()
        uow.commit()
    assert claim(uow_factory) is None
    with uow_factory() as uow, pytest.raises(LeaseLostError):
        uow.units.lock(held.id, held.lease_token)


def test_a_job_waits_when_none_of_its_units_runs(uow_factory: UnitOfWorkFactory) -> None:
    before = datetime.now(UTC)
    made = add_job(uow_factory, add_tenant(uow_factory), units=2)

    def watched() -> tuple[Job, WaitingFor | None]:
        with uow_factory(read_only=True) as uow:
            found = uow.jobs.watched(made.tenant_id, made.id, alive_within=timedelta(seconds=30))
            assert uow.jobs.watched(new_id(), made.id, alive_within=timedelta(seconds=30)) is None
        assert found is not None
        assert found[0].id == made.id
        return found

    _, waiting = watched()
    assert waiting is not None
    assert (waiting.queue, waiting.consumers) == (Queue.INGEST, 0)
    assert waiting.since is not None
    assert before - timedelta(seconds=5) < waiting.since < datetime.now(UTC) + timedelta(seconds=5)
    with uow_factory() as uow:
        uow.workers.beat(WorkerBeat("one", (Queue.EMBED, Queue.INGEST), "cpu", 1, "here"))
        uow.workers.beat(WorkerBeat("two", (Queue.QUERY,), "cpu", 2, "here"))
        uow.commit()
    assert watched()[1] == replace(waiting, consumers=1)
    for put_off in (timedelta(minutes=5), timedelta(minutes=1)):
        held = claimed_one(uow_factory)
        assert watched()[1] is None
        with uow_factory() as uow:
            assert uow.units.release(held.id, held.lease_token, delay=put_off)
            uow.commit()
    _, waiting = watched()
    assert waiting is not None
    assert (waiting.queue, waiting.consumers, waiting.since) == (Queue.INGEST, 1, None)
    assert waiting.until is not None
    assert before < waiting.until < datetime.now(UTC) + timedelta(minutes=2)


def test_units_that_give_way_come_after_those_of_every_tenant(uow_factory: UnitOfWorkFactory) -> None:
    batch = add_job(uow_factory, add_tenant(uow_factory, "patient"))
    screen = add_job(uow_factory, add_tenant(uow_factory, "hurried"))
    asked = [(batch, UnitKind.BATCH_SEARCH), (batch, UnitKind.BATCH_SEARCH), (screen, UnitKind.SEARCH)]
    with uow_factory() as uow:
        uow.units.add([unit(made, kind=kind, queue=Queue.QUERY) for made, kind in asked])
        uow.commit()
    claimed = [claim(uow_factory, Queue.QUERY) for _ in range(4)]
    assert [each and each.kind for each in claimed] == ["search", "batch_search", "batch_search", None]


def test_a_claim_looks_at_few_of_many_pending_units(uow_factory: UnitOfWorkFactory, engine: Engine) -> None:
    """Its cost follows the number of tenants, not of units."""
    for name in ("a", "b"):
        add_job(uow_factory, add_tenant(uow_factory, name), units=3000)
    with engine.begin() as connection:
        connection.execute(text("ANALYZE work_units"))
    read = text("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'work_units'")
    with engine.connect() as connection:
        before = connection.execute(read).scalar_one()  # of earlier transactions, as long as the server kept it back
        assert SqlUnits(Transaction(connection)).claim((Queue.INGEST,), worker="w", lease=LEASE) is not None
        assert 0 < connection.execute(read).scalar_one() - before < 50
