"""The unit of work while Postgres misbehaves."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from cli.local.services import RunningServices
from core.errors import UnavailableError
from core.ids import new_id
from core.ports import UnitOfWorkFactory
from core.settings import Settings
from storage.engine import create_engine
from storage.uow import uow_factory as make_uow_factory
from tests.integration.storage.builders import add_job, add_tenant

pytestmark = pytest.mark.integration

END_ALL_OTHERS = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'")


@pytest.fixture
def victim(services: RunningServices, engine: Engine) -> Iterator[UnitOfWorkFactory]:
    """Units of work whose connections `END_ALL_OTHERS` ends."""
    assert engine is not None
    pool = create_engine(services.settings, application_name="victim", statement_timeout_s=0.5)
    yield make_uow_factory(pool, services.settings)
    pool.dispose()


def kill_all(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(END_ALL_OTHERS)
        others = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'victim'")
        while connection.execute(others).scalar_one():
            connection.execute(text("SELECT pg_stat_clear_snapshot()"))


def test_a_connection_lost_in_the_middle_is_unavailable(victim: UnitOfWorkFactory, engine: Engine) -> None:
    with victim() as uow:
        uow.check()
        kill_all(engine)
        with pytest.raises(UnavailableError):
            uow.jobs.get(new_id(), new_id())
    with victim() as uow:
        uow.check()


def test_a_connection_lost_before_the_commit_is_unavailable(victim: UnitOfWorkFactory, engine: Engine) -> None:
    with victim() as uow:
        uow.api_keys.add_tenant("never")
        kill_all(engine)
        with pytest.raises(UnavailableError):
            uow.commit()


def test_idle_connections_that_the_server_ended_are_replaced(victim: UnitOfWorkFactory, engine: Engine) -> None:
    with victim() as one, victim() as two:
        one.check()
        two.check()
    kill_all(engine)
    with victim() as one, victim() as two:
        one.check()
        two.check()


def test_a_statement_that_takes_too_long_is_unavailable(
    victim: UnitOfWorkFactory, uow_factory: UnitOfWorkFactory
) -> None:
    made = add_job(uow_factory, add_tenant(uow_factory))
    with uow_factory() as holder, victim() as uow:
        holder.jobs.lock(made.id)
        with pytest.raises(UnavailableError):
            uow.jobs.lock(made.id)


def test_an_absent_server_is_unavailable() -> None:
    settings = Settings(database_url="postgresql://setr:setr@127.0.0.1:1/setr")
    pool = create_engine(settings)
    with pytest.raises(UnavailableError), make_uow_factory(pool, settings)():
        pass


def test_an_exception_rolls_back(uow_factory: UnitOfWorkFactory) -> None:
    def fail() -> None:
        with uow_factory() as uow:
            uow.api_keys.add_tenant("shop")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    with uow_factory() as uow:
        first = uow.api_keys.add_tenant("shop")
    with uow_factory() as uow:
        assert uow.api_keys.add_tenant("shop") != first
