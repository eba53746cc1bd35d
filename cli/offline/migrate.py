"""`setr migrate`: the schema of an operator's own Postgres. `setr up` does the same for the one it starts."""

import click

from core.settings import load_settings


@click.command("migrate")
def migrate() -> None:
    """Bring the database that SETR_DATABASE_URL names to the current schema; safe to repeat."""
    from storage.migrate import upgrade

    url = load_settings().database_url
    if not url:
        raise click.ClickException("SETR_DATABASE_URL is not set. `setr up` migrates the database that it starts.")
    upgrade(url)
    click.echo("The database has the current schema.")
