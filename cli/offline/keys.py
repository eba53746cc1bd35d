"""`setr keys`: API keys of a service that was not started by `setr up`."""

import click

from core.access import ALL_SCOPES, issue_key
from core.errors import ServiceError
from core.models import Scope
from core.settings import load_settings
from storage.uow import brief_uow_factory


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
    if not settings.database_url:
        raise click.ClickException(
            "SETR_DATABASE_URL is not set: run this with the variables of the service's processes."
            " `setr up` makes the key of the service that it starts."
        )
    wanted = tuple(Scope(scope) for scope in scopes) or ALL_SCOPES
    try:
        with brief_uow_factory(settings, application_name="setr-keys") as uow_factory:
            key = issue_key(uow_factory, tenant=tenant, label=label, scopes=wanted)
    except ServiceError as error:
        raise click.ClickException(error.detail) from error
    click.echo(key)
    click.echo(f"A key of tenant {tenant} ({', '.join(wanted)}). Keep it now: it cannot be shown again.", err=True)
