"""`setr galleries`: list, create, delete."""

import click
from rich.markup import escape

from cli.client import ApiClient
from cli.commands.connection import print_json, with_client
from cli.commands.tables import galleries_table, output
from cli.commands.waiting import exit_code, report, wait


class _ListByDefault(click.Group):
    """A group whose `list` is meant when no subcommand is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` first where it is left out."""
        named = args and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else ["list", *args])


@click.group("galleries", cls=_ListByDefault)
def galleries() -> None:
    """List galleries, or create and delete them."""


@galleries.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_client
def list_command(*, client: ApiClient, as_json: bool) -> None:
    """List galleries (the default)."""
    found = client.galleries()
    if as_json:
        print_json(found)
    elif found:
        output().print(galleries_table(found))
    else:
        output().print("No gallery yet. Make one with: setr galleries create NAME")


@galleries.command("create")
@click.argument("name")
@click.option("--encoder", help="One of the encoders that the operator listed (default: the server's).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_client
def create_command(*, client: ApiClient, name: str, encoder: str | None, as_json: bool) -> None:
    """Create the gallery NAME."""
    gallery = client.create_gallery(name, encoder=encoder)
    if as_json:
        print_json(gallery)
    else:
        output().print(f"Created gallery {escape(gallery['name'])} with encoder {escape(gallery['encoder'])}.")


@galleries.command("delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_client
def delete_command(*, client: ApiClient, name: str, yes: bool) -> None:
    """Delete the gallery NAME with all its images."""
    gallery = client.gallery(name)
    if not yes:
        click.confirm(f"Delete gallery {name} with {gallery['image_count']:,} images?", abort=True)
    job = wait(client, client.delete_gallery(name))
    report(client, job, output())
    raise SystemExit(exit_code(job))
