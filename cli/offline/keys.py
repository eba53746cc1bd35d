"""`setr keys`: API keys of a service that was not started by `setr up`."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from core.access import ALL_SCOPES, issue_key
from core.context import Context, SystemClock
from core.errors import ServiceError
from core.models import Queue, Scope
from core.settings import Settings, load_settings


@click.group("keys")
def keys() -> None:
    """Make API keys; runs with the variables of the service's processes."""


@keys.command("create")
@click.option("--tenant", default="default", show_default=True, help="Whose data the key opens; made when missing.")
@click.option("--label", required=True, help="What the key is for, for those who look through the keys later.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in ALL_SCOPES]),
    multiple=True,
    help="What the key may do; repeat it for several (default: everything).",
)
def create(tenant: str, label: str, scopes: tuple[str, ...]) -> None:
    """Make a key and print it, this once: only its hash is stored."""
    settings = load_settings()
    if not (settings.database_url and settings.s3_endpoint):
        raise click.ClickException(
            "SETR_DATABASE_URL or SETR_S3_ENDPOINT is not set: run this with the variables of the service's processes."
            " `setr up` makes the key of the service that it starts."
        )
    wanted = tuple(Scope(scope) for scope in scopes) or ALL_SCOPES
    try:
        with _context(settings) as ctx:
            key = issue_key(ctx, tenant=tenant, label=label, scopes=wanted)
    except ServiceError as error:
        raise click.ClickException(error.detail) from error
    click.echo(key)
    click.echo(f"A key of tenant {tenant} ({', '.join(wanted)}). Keep it now: it cannot be shown again.", err=True)


@contextmanager
def _context(settings: Settings) -> Iterator[Context]:
    from storage.engine import create_engine
    from storage.objects import S3ObjectStore
    from storage.uow import uow_factory

    engine = create_engine(settings, application_name="setr-keys")
    try:
        yield Context(
            uow=uow_factory(engine, settings),
            objects=S3ObjectStore(settings),
            doorbell=_NobodyToWake(),
            clock=SystemClock(),
            settings=settings,
        )
    finally:
        engine.dispose()


class _NobodyToWake:
    """A doorbell without a bell: making a key queues no work."""

    def ring(self, queue: Queue, *, times: int = 1) -> bool:
        """Nobody hears."""
        del queue, times
        return False

    def depth(self, queue: Queue) -> None:
        """Unknown."""
        del queue

    def check(self) -> None:
        """No broker is needed."""
