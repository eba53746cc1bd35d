"""`setr search-batch`: a file of queries in, a file of answers out."""

from pathlib import Path

import click

from cli.client import ApiClient
from cli.commands.connection import with_client
from cli.commands.tables import output
from cli.commands.waiting import exit_code, report, wait
from cli.transport import Upload


@click.command("search-batch")
@click.argument("gallery")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    default=Path("results.ndjson"),
    show_default=True,
    help="Where the answers go: a line for each query, in the same order.",
)
@with_client
def search_batch(*, client: ApiClient, gallery: str, file: Path, out: Path) -> None:
    """Search GALLERY with every query of FILE (JSON lines)."""
    upload = Upload(path=file, filename=file.name, media_type="application/x-ndjson")
    job = wait(client, client.query_batch(gallery, upload))
    result = client.job(job["id"])["result"]  # read again, as its URL is short-lived
    if result is not None:
        try:
            client.download(result["url"], out)
        except OSError as error:
            raise click.ClickException(f"Cannot write to {out}: {error}") from error
    report(client, job, output())
    raise SystemExit(exit_code(job))
