"""`setr keys` against a real Postgres."""

from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from cli.local.services import RunningServices, running_services
from cli.offline.keys import keys
from core.access import hash_key
from core.models import Scope
from core.settings import settings_environment
from storage.engine import create_engine
from storage.migrate import upgrade
from storage.uow import uow_factory

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def services() -> Iterator[RunningServices]:
    with running_services(fsync=False) as running:
        upgrade(running.settings.database_url)
        yield running


def test_the_printed_key_opens_the_tenant_with_its_scopes(services: RunningServices) -> None:
    arguments = ["create", "--tenant", "shop", "--label", "nightly import", "--scope", "read", "--scope", "write"]
    result = CliRunner().invoke(keys, arguments, env=settings_environment(services.settings))
    assert result.exit_code == 0, result.output
    engine = create_engine(services.settings)
    with uow_factory(engine, services.settings)() as uow:
        principal = uow.api_keys.find(hash_key(result.stdout.strip()))
        tenant_id = uow.api_keys.add_tenant("shop")
    engine.dispose()
    assert principal is not None
    assert principal.tenant_id == tenant_id
    assert principal.scopes == {Scope.READ, Scope.WRITE}
    assert principal.requests_per_minute is None


def test_keys_and_tenants_are_limited(services: RunningServices) -> None:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(keys, arguments, env=settings_environment(services.settings))

    made = run("create", "--tenant", "limited", "--label", "web", "--requests-per-minute", "60")
    key_sha256 = hash_key(made.stdout.strip())
    engine = create_engine(services.settings)
    database = uow_factory(engine, services.settings)
    for arguments, expected in ((None, 60), (("rate", "0"), 0), (("rate", "default"), None)):
        if arguments:
            changed = run(*arguments, "--tenant", "limited", "--label", "web")
            assert (changed.exit_code, "changed: 1." in changed.stdout) == (0, True), changed.output
        with database() as uow:
            principal = uow.api_keys.find(key_sha256)
        assert principal is not None
        assert principal.requests_per_minute == expected
    assert run("quota", "1000", "--tenant", "limited").exit_code == 0
    with database() as uow:
        assert uow.api_keys.quota(uow.api_keys.add_tenant("limited")) == 1000
    engine.dispose()


def test_what_is_not_there_cannot_be_limited(services: RunningServices) -> None:
    for arguments in (("rate", "5", "--label", "nobody's"), ("quota", "5", "--tenant", "nobody"), ("quota", "many")):
        result = CliRunner().invoke(keys, arguments, env=settings_environment(services.settings))
        assert result.exit_code != 0
        assert "Traceback" not in result.output


def test_keys_are_listed_without_themselves_and_revoked_by_id(services: RunningServices) -> None:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(keys, arguments, env=settings_environment(services.settings))

    made = [run("create", "--tenant", "listed", "--label", label).stdout.strip() for label in ("first", "second")]
    shown = run("list", "--tenant", "listed")
    assert shown.exit_code == 0, shown.output
    rows = [line for line in shown.stdout.splitlines() if "listed" in line]
    assert ["first" in rows[0], "second" in rows[1], len(rows)] == [True, True, 2]
    assert not any(key in shown.stdout or hash_key(key) in shown.stdout for key in made)

    engine = create_engine(services.settings)
    database = uow_factory(engine, services.settings)
    with database() as uow:
        first, second = uow.api_keys.keys("listed")
    assert str(first.id) in rows[0]
    assert run("revoke", str(first.id)).exit_code == 0
    with database() as uow:
        assert uow.api_keys.keys("listed") == (second,)
        assert [uow.api_keys.find(hash_key(key)) is None for key in made] == [True, False]
    engine.dispose()
    again = run("revoke", str(first.id))
    assert again.exit_code == 1
    assert "setr keys list" in again.output
    assert run("revoke", "first").exit_code == 2
    assert len(run("list").stdout.splitlines()) > len(run("list", "--tenant", "nobody").stdout.splitlines())
