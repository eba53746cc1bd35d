"""`setr import`: pictures from this disk into a gallery."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console

from cli.client import ApiClient, ApiError, Upload
from cli.commands.connection import print_json, with_client
from cli.commands.packing import Packed, pack, plan
from cli.commands.progress import bytes_bar, count_bar
from cli.commands.tables import messages, output
from cli.commands.waiting import exit_code, report, wait
from cli.wire import Job


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--gallery", required=True, help="The gallery to import into.")
@click.option("--create", is_flag=True, help="Create the gallery if it does not exist.")
@click.option(
    "--mode",
    type=click.Choice(["upsert", "mirror"]),
    default="upsert",
    show_default=True,
    help="mirror: then remove from the gallery what PATH does not name.",
)
@click.option(
    "--max-delete-share",
    type=click.FloatRange(0, 1),
    help="Share of the gallery that a mirror may remove at most.  [default: the server's, 0.2]",
)
@click.option("--no-wait", is_flag=True, help="Only submit: print the job's id and leave.")
@click.option("--json", "as_json", is_flag=True, help="Print the job as JSON.")
@with_client
def import_command(  # noqa: PLR0913 - a parameter for each option
    *, client: ApiClient, path: Path, gallery: str, create: bool, mode: str, max_delete_share: float | None, **how: bool
) -> None:
    """Import PATH: a folder of pictures, a ZIP or tar, a .csv/.jsonl manifest with local paths, or one picture.

    Exit code: 0 all went through, 3 some items failed, 1 none did.
    """
    if max_delete_share is not None and mode != "mirror":
        raise click.UsageError("--max-delete-share goes with --mode mirror.")
    fields = {"mode": mode} | ({} if max_delete_share is None else {"max_delete_share": str(max_delete_share)})
    wanted = plan(path)
    _check_gallery(client, gallery, create=create)
    console = messages()
    for remark in wanted.remarks:
        console.print(remark, markup=False)
    with tempfile.TemporaryDirectory(prefix="setr-import-") as folder:
        with count_bar(console, "packing", wanted.count) as on_file:
            file = pack(wanted, Path(folder), on_file=on_file)
        job = send(client, gallery, file, console=console, fields=fields)
    _finish(client, job, console, **how)


def _finish(client: ApiClient, job: Job, console: Console, *, no_wait: bool, as_json: bool) -> None:
    if not no_wait:
        job = wait(client, job, console=console)
    if as_json:
        print_json(job)
    elif no_wait:
        click.echo(job["id"])
    else:
        report(client, job, output())
    if not no_wait:
        raise SystemExit(exit_code(job))


def send(
    client: ApiClient, gallery: str, file: Packed, *, console: Console, fields: Mapping[str, str] | None = None
) -> Job:
    """Upload a file under a progress bar; the import job."""
    with bytes_bar(console, "uploading", file.size_bytes) as on_bytes:
        upload = Upload(path=file.path, filename=file.filename, media_type=file.media_type, on_bytes=on_bytes)
        return client.import_file(gallery, upload, fields=fields or {})


def _check_gallery(client: ApiClient, name: str, *, create: bool) -> None:
    """Before anything is packed: the gallery is there, or made."""
    if create:
        client.ensure_gallery(name)
        return
    try:
        client.gallery(name)
    except ApiError as error:
        if error.missing:
            error.hint = "Add --create to make it."
        raise
