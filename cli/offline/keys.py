"""`setr keys`: API keys of a service that was not started by `setr up`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import click
from rich.markup import escape
from rich.table import Table

from cli.commands.tables import output
from core.access import ALL_SCOPES, issue_key, list_keys, revoke_key, set_quota, set_rate
from core.errors import ServiceError
from core.models import ApiKey, Scope
from core.ports import UnitOfWorkFactory
from core.settings import load_settings
from storage.uow import brief_uow_factory


def _most(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    """A number, 0 for as many as they like, or `default` for what the operator set for all (None)."""
    if value == "default":
        return None
    if not (value.isascii() and value.isdigit()):
        raise click.BadParameter(f"{value!r} is neither a number from 0 up nor `default`.", ctx, param)
    return int(value)


@click.group("keys")
def keys() -> None:
    """Make, list, limit and revoke API keys; runs with the variables of the service's processes."""


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
@click.option(
    "--requests-per-minute",
    type=click.IntRange(min=0),
    help="How many the key may send; 0: as many as it likes (default: what SETR_REQUESTS_PER_MINUTE says).",
)
def create(tenant: str, label: str, scopes: tuple[str, ...], requests_per_minute: int | None) -> None:
    """Make a key and print it, this once: only its hash is stored."""
    wanted = tuple(Scope(scope) for scope in scopes) or ALL_SCOPES
    with _database() as uow_factory:
        key = issue_key(uow_factory, tenant=tenant, label=label, scopes=wanted, requests_per_minute=requests_per_minute)
    click.echo(key)
    click.echo(f"A key of tenant {tenant} ({', '.join(wanted)}). Keep it now: it cannot be shown again.", err=True)


@keys.command("list")
@click.option("--tenant", help="Only keys of this tenant (default: of all).")
def list_(tenant: str | None) -> None:
    """Show what there is: ids, tenants, labels, scopes, limits. The keys themselves are stored nowhere."""
    with _database() as uow_factory:
        found = list_keys(uow_factory, tenant=tenant)
    output().print(_table(found))


@keys.command("revoke")
@click.argument("key_id", type=click.UUID)
def revoke(key_id: UUID) -> None:
    """Make a key useless, by the id that `setr keys list` shows."""
    with _database() as uow_factory:
        revoke_key(uow_factory, key_id)
    click.echo(f"Key {key_id} is revoked. API processes that know it may take it for a few seconds yet.")


@keys.command("rate")
@click.argument("requests_per_minute", callback=_most)
@click.option("--tenant", default="default", show_default=True, help="Whose key it is.")
@click.option("--label", required=True, help="As given when the key was made; all keys of that label change.")
def rate(requests_per_minute: int | None, tenant: str, label: str) -> None:
    """Say how many requests a key may send in a minute: a number, 0 for any, or `default`."""
    with _database() as uow_factory:
        changed = set_rate(uow_factory, tenant=tenant, label=label, requests_per_minute=requests_per_minute)
    shown = "the operator's default" if requests_per_minute is None else requests_per_minute or "any number"
    click.echo(f"Requests a minute: {shown}. Keys of tenant {tenant} that changed: {changed}.")


@keys.command("quota")
@click.argument("max_images", callback=_most)
@click.option("--tenant", default="default", show_default=True, help="Whose images they are.")
def quota(max_images: int | None, tenant: str) -> None:
    """Say how many images a tenant may have in all its galleries: a number, 0 for any, or `default`."""
    with _database() as uow_factory:
        set_quota(uow_factory, tenant=tenant, max_images=max_images)
    shown = "the operator's default" if max_images is None else max_images or "any number"
    click.echo(f"Images of tenant {tenant}: {shown}. What is there already stays.")


def _table(found: Sequence[ApiKey]) -> Table:
    table = Table()
    for heading in ("id", "tenant", "label", "scopes", "requests/min", "created"):
        table.add_column(heading, no_wrap=heading == "id", justify="right" if heading == "requests/min" else "left")
    for key in found:
        rate = "default" if key.requests_per_minute is None else str(key.requests_per_minute or "any")
        scopes = ", ".join(scope for scope in Scope if scope in key.scopes)
        created = f"{key.created_at:%Y-%m-%d %H:%M}"
        table.add_row(str(key.id), escape(key.tenant), escape(key.label), scopes, rate, created)
    return table


@contextmanager
def _database() -> Iterator[UnitOfWorkFactory]:
    """The database of the settings; our errors become messages."""
    settings = load_settings()
    if not settings.database_url:
        raise click.ClickException(
            "SETR_DATABASE_URL is not set: run this with the variables of the service's processes."
            " `setr up` makes the key of the service that it starts."
        )
    try:
        with brief_uow_factory(settings, application_name="setr-keys") as uow_factory:
            yield uow_factory
    except ServiceError as error:
        raise click.ClickException(error.detail) from error
