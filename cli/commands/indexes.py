"""`setr reindex`, `setr indexes` and `setr activate`: which encoder a gallery is searched with, without a pause."""

import click
from rich.markup import escape

from cli.client import ApiClient
from cli.commands.connection import print_json, with_client
from cli.commands.tables import indexes_table, output
from cli.commands.waiting import exit_code, report, wait


@click.command("reindex")
@click.argument("gallery")
@click.option("--encoder", help="One of the encoders that the operator listed (default: the gallery's present one).")
@click.option(
    "--activate",
    type=click.Choice(["when_ready", "manual"]),
    default="when_ready",
    show_default=True,
    help="Let the new index answer once it has passed its check, or only by `setr activate`.",
)
@click.option("--no-wait", is_flag=True, help="Only submit: print the job's id and leave.")
@with_client
def reindex(*, client: ApiClient, gallery: str, encoder: str | None, activate: str, no_wait: bool) -> None:
    """Build a new index of GALLERY beside the one that answers."""
    job = client.reindex(gallery, encoder=encoder, activate=activate)
    if no_wait:
        click.echo(job["id"])
        return
    job = wait(client, job)
    report(client, job, output())
    if activate == "manual" and job["result"]:
        output().print(f"Let it answer with: setr activate {escape(gallery)} {job['result']['index_id']}")
    raise SystemExit(exit_code(job))


@click.command("indexes")
@click.argument("gallery")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_client
def indexes(*, client: ApiClient, gallery: str, as_json: bool) -> None:
    """List the indexes of GALLERY: the active one, and those beside it."""
    found = client.indexes(gallery)
    if as_json:
        print_json(found)
    else:
        output().print(indexes_table(found))


@click.command("activate")
@click.argument("gallery")
@click.argument("index")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_client
def activate(*, client: ApiClient, gallery: str, index: str, as_json: bool) -> None:
    """Let INDEX answer the queries on GALLERY from now on; also the way back to the one before."""
    found = client.activate(gallery, index)
    if as_json:
        print_json(found)
    else:
        output().print(f"Index {found['id']} with encoder {escape(found['encoder'])} answers now.")
