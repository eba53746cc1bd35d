"""`setr keys create` against a real Postgres."""

from collections.abc import Iterator

import pytest
from click.testing import CliRunner

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
