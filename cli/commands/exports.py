"""`setr export`: a gallery's metadata and vectors as Parquet files."""

from pathlib import Path, PurePosixPath
from typing import cast

import click
from rich.console import Console

from cli.client import ApiClient
from cli.commands.connection import with_client
from cli.commands.progress import count_bar
from cli.commands.tables import messages, output
from cli.commands.waiting import exit_code, report, wait
from cli.wire import ExportFile, Job


@click.command("export")
@click.argument("gallery")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder for the files; made when missing.  [default: this one]",
)
@click.option("--vectors/--no-vectors", default=True, show_default=True, help="With the vectors of the active index.")
@with_client
def export_command(*, client: ApiClient, gallery: str, out: Path, vectors: bool) -> None:
    """Write metadata and vectors of all images of GALLERY to Parquet files."""
    job = wait(client, client.export(gallery, vectors=vectors))
    if job["state"] == "succeeded":
        _download(client, job, out, messages())
    report(client, job, output())
    raise SystemExit(exit_code(job))


def _download(client: ApiClient, job: Job, out: Path, console: Console) -> None:
    count = len(_files(job))
    try:
        out.mkdir(parents=True, exist_ok=True)
        with count_bar(console, "downloading", count) as on_file:
            for number in range(count):
                file = _files(client.job(job["id"]))[number]  # read again, as its URL is short-lived
                client.download(file["url"], out / PurePosixPath(file["key"]).name)
                on_file(number + 1)
    except OSError as error:
        raise click.ClickException(f"Cannot write to {out}: {error}") from error


def _files(job: Job) -> list[ExportFile]:
    return cast(list[ExportFile], (job["result"] or {})["files"])
