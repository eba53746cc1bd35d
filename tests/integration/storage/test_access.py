from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from core.errors import ConflictError, NotFoundError
from core.models import Principal, Queue, Scope, WorkerBeat
from core.ports import SavedResponse, UnitOfWorkFactory
from tests.integration.storage.builders import add_tenant

pytestmark = pytest.mark.integration

HASH = "ab" * 32
LEASE = timedelta(minutes=1)
NOTHING_YET = SavedResponse(fingerprint="body", status=None, body=None, headers={})


def test_a_key_opens_its_tenant(uow_factory: UnitOfWorkFactory) -> None:
    with uow_factory() as uow:
        tenant_id = uow.api_keys.add_tenant("shop")
        assert uow.api_keys.add_tenant("shop") == tenant_id != uow.api_keys.add_tenant("other")
        key_id = uow.api_keys.add_key(tenant_id, key_sha256=HASH, scopes=[Scope.READ, Scope.QUERY], label="web")
        assert uow.api_keys.find(HASH) == Principal(tenant_id, key_id, frozenset({Scope.READ, Scope.QUERY}))
        assert uow.api_keys.find(HASH[:-1]) is None
        with pytest.raises(ConflictError):
            uow.api_keys.add_key(tenant_id, key_sha256=HASH, scopes=[], label="again")


def test_a_key_carries_its_own_limit(uow_factory: UnitOfWorkFactory) -> None:
    with uow_factory() as uow:
        tenant_id = uow.api_keys.add_tenant("shop")
        uow.api_keys.add_key(tenant_id, key_sha256=HASH, scopes=[Scope.READ], label="web", requests_per_minute=60)
        for requests_per_minute in (60, 0, None):
            assert uow.api_keys.set_rate("shop", "web", requests_per_minute) == 1
            found = uow.api_keys.find(HASH)
            assert found is not None
            assert found.requests_per_minute == requests_per_minute
        assert uow.api_keys.set_rate("shop", "another", 1) == uow.api_keys.set_rate("other", "web", 1) == 0


def test_a_tenant_carries_its_own_quota(uow_factory: UnitOfWorkFactory) -> None:
    with uow_factory() as uow:
        tenant_id = uow.api_keys.add_tenant("shop")
        assert uow.api_keys.quota(tenant_id) is None
        assert uow.api_keys.set_quota("shop", 3_000_000_000)
        assert uow.api_keys.quota(tenant_id, lock=True) == 3_000_000_000
        assert not uow.api_keys.set_quota("other", 1)
        with pytest.raises(NotFoundError):
            uow.api_keys.quota(uuid4())


def test_the_first_response_is_replayed(uow_factory: UnitOfWorkFactory) -> None:
    first = SavedResponse("body", 202, {"id": "j"}, {"Location": "/jobs/j"})
    tenant_id, other = add_tenant(uow_factory), add_tenant(uow_factory, "other")
    with uow_factory() as uow:
        assert uow.idempotency.begin(tenant_id, "k", "body", lease=LEASE) is None
        assert uow.idempotency.begin(tenant_id, "k", "another body", lease=LEASE) == NOTHING_YET
        uow.idempotency.finish(tenant_id, "k", first)
        assert uow.idempotency.begin(tenant_id, "k", "body", lease=LEASE) == first
        uow.idempotency.abandon(tenant_id, "k")
        assert uow.idempotency.begin(tenant_id, "k", "body", lease=LEASE) == first
        assert uow.idempotency.begin(other, "k", "body", lease=LEASE) is None


def test_an_abandoned_key_is_new_again(uow_factory: UnitOfWorkFactory) -> None:
    tenant_id = add_tenant(uow_factory)
    with uow_factory() as uow:
        assert uow.idempotency.begin(tenant_id, "k", "body", lease=LEASE) is None
        uow.idempotency.abandon(tenant_id, "k")
        assert uow.idempotency.begin(tenant_id, "k", "body", lease=LEASE) is None


def test_one_of_two_simultaneous_requests_gets_the_key(uow_factory: UnitOfWorkFactory) -> None:
    tenant_id = add_tenant(uow_factory)

    def begin(_: int) -> SavedResponse | None:
        with uow_factory() as uow:
            found = uow.idempotency.begin(tenant_id, "k", "body", lease=LEASE)
            uow.commit()
        return found

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(begin, range(8)))
    assert found.count(None) == 1
    assert found.count(NOTHING_YET) == 7


def reserved_an_hour_ago(uow_factory: UnitOfWorkFactory, engine: Engine) -> UUID:
    """A tenant whose key `k` has been reserved, and not renewed since."""
    tenant_id = add_tenant(uow_factory)
    with uow_factory() as uow:
        uow.idempotency.begin(tenant_id, "k", "body", lease=LEASE)
        uow.commit()
    with engine.begin() as connection:
        connection.execute(text("UPDATE idempotency_keys SET created_at = created_at - interval '1 hour'"))
    return tenant_id


def test_a_reservation_whose_process_died_is_taken_over(uow_factory: UnitOfWorkFactory, engine: Engine) -> None:
    tenant_id = reserved_an_hour_ago(uow_factory, engine)
    with uow_factory() as uow:
        assert uow.idempotency.begin(tenant_id, "k", "body", lease=LEASE) is None
        assert uow.idempotency.begin(tenant_id, "k", "body", lease=LEASE) == NOTHING_YET


def test_a_reservation_that_is_renewed_is_not_taken_over(uow_factory: UnitOfWorkFactory, engine: Engine) -> None:
    tenant_id = reserved_an_hour_ago(uow_factory, engine)
    with uow_factory() as uow:
        uow.idempotency.renew(tenant_id, "k")
        assert uow.idempotency.begin(tenant_id, "k", "body", lease=LEASE) == NOTHING_YET


def test_old_keys_expire(uow_factory: UnitOfWorkFactory) -> None:
    tenant_id = add_tenant(uow_factory)
    with uow_factory() as uow:
        uow.idempotency.begin(tenant_id, "k", "body", lease=LEASE)
        uow.commit()
    with uow_factory() as uow:
        now = datetime.now(UTC)
        assert uow.idempotency.expire(before=now - timedelta(hours=1), limit=9) == 0
        assert uow.idempotency.expire(before=now + timedelta(hours=1), limit=9) == 1


def test_no_more_keys_expire_than_asked_and_none_that_is_in_use(uow_factory: UnitOfWorkFactory) -> None:
    tenant_id, soon = add_tenant(uow_factory), datetime.now(UTC) + timedelta(hours=1)
    with uow_factory() as uow:
        for number in range(5):
            uow.idempotency.begin(tenant_id, f"k{number}", "body", lease=LEASE)
        uow.commit()
    with uow_factory() as using, uow_factory() as uow:
        using.idempotency.finish(tenant_id, "k0", SavedResponse("body", 202, None, {}))
        assert [uow.idempotency.expire(before=soon, limit=3) for _ in range(3)] == [3, 1, 0]


def test_consumers_are_the_workers_that_beat(uow_factory: UnitOfWorkFactory, engine: Engine) -> None:
    with uow_factory() as uow:
        uow.workers.beat(WorkerBeat("a", (Queue.EMBED, Queue.EMBED_GPU), "cuda", 1, "host"))
        uow.workers.beat(WorkerBeat("b", (Queue.EMBED,), "cpu", 2, "host"))
        uow.workers.beat(WorkerBeat("gone", (Queue.RERANK,), "cpu", 3, "host"))
        uow.commit()
    with engine.begin() as connection:
        connection.execute(text("UPDATE workers SET beat_at = beat_at - interval '1 hour' WHERE name = 'gone'"))
    with uow_factory() as uow:
        uow.workers.beat(WorkerBeat("b", (Queue.EMBED, Queue.QUERY), "cpu", 2, "host"))
        consumers = uow.workers.consumers(alive_within=timedelta(seconds=30))
        counts = {queue: each.count for queue, each in consumers.items()}
        assert counts == dict.fromkeys(Queue, 0) | {Queue.EMBED: 2, Queue.EMBED_GPU: 1, Queue.QUERY: 1}
        assert consumers[Queue.RERANK].last_seen_at is not None
        assert consumers[Queue.INGEST].last_seen_at is None
        uow.workers.remove("a")
        assert uow.workers.forget(silent_for=timedelta(minutes=1)) == 1
        assert uow.workers.consumers(alive_within=timedelta(seconds=30))[Queue.EMBED].count == 1
