"""`setr import`: pictures from this disk, from URLs or from a bucket into a gallery."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from cli.client import ApiClient
from cli.commands.connection import print_json, with_client
from cli.commands.packing import Packed, Plan, pack, plan
from cli.commands.progress import bytes_bar, count_bar
from cli.commands.tables import messages, output
from cli.commands.waiting import exit_code, report, wait
from cli.transport import ApiError, Upload
from cli.wire import Job

URL_LIST = "urls.txt"
"""The server takes a file of this kind as a list of URLs."""


@dataclass(frozen=True, kw_only=True)
class Sending:
    """How a file goes out: fields of the import beside it, and whether straight into the bucket."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    direct: bool = False


THROUGH_THE_SERVER = Sending()


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option(
    "--image-url", "urls", multiple=True, help="Instead of PATH: the URL of a picture; repeat it for several."
)
@click.option(
    "--urls-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Instead of PATH: a file with a URL a line.",
)
@click.option("--manifest-url", help="Instead of PATH: where a manifest (.csv, .jsonl) lies: http(s) or s3://.")
@click.option("--s3-prefix", help="Instead of PATH: s3://bucket/prefix/, where the operator opened it to you.")
@click.option("--direct", is_flag=True, help="Send the file straight into the bucket: for what the API takes too long.")
@click.option("--gallery", required=True, help="The gallery to import into.")
@click.option("--create", is_flag=True, help="Create the gallery if it does not exist.")
@click.option(
    "--mode",
    type=click.Choice(["upsert", "mirror"]),
    default="upsert",
    show_default=True,
    help="mirror: then remove from the gallery what the import does not name.",
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
    *,
    client: ApiClient,
    path: Path | None,
    urls: tuple[str, ...],
    urls_file: Path | None,
    manifest_url: str | None,
    s3_prefix: str | None,
    direct: bool,
    gallery: str,
    create: bool,
    mode: str,
    max_delete_share: float | None,
    **how: bool,
) -> None:
    """Import PATH: a folder of pictures, a ZIP or tar, a .csv/.jsonl manifest with local paths or URLs, or one picture.

    Exit code: 0 all went through, 3 some items failed, 1 none did.
    """
    if max_delete_share is not None and mode != "mirror":
        raise click.UsageError("--max-delete-share goes with --mode mirror.")
    if sum(map(bool, (path, urls, urls_file, manifest_url, s3_prefix))) != 1:
        raise click.UsageError("Give exactly one of PATH, --image-url, --urls-file, --manifest-url and --s3-prefix.")
    share = {} if max_delete_share is None else {"max_delete_share": max_delete_share}
    sending = Sending(fields={"mode": mode, **share}, direct=direct)
    wanted = None if path is None else plan(path)
    _check_gallery(client, gallery, create=create)
    console = messages()
    if wanted is not None:
        job = _send_planned(client, gallery, wanted, console=console, how=sending)
    elif urls_file is not None:
        file = Packed(path=urls_file, filename=URL_LIST, media_type="text/plain")
        job = send(client, gallery, file, console=console, how=sending)
    else:
        named = {"urls": list(urls), "manifest": manifest_url, "s3_prefix": s3_prefix}
        source = {name: value for name, value in named.items() if value}
        job = client.import_source(gallery, source, fields=sending.fields)
    _finish(client, job, console, **how)


def _send_planned(client: ApiClient, gallery: str, wanted: Plan, *, console: Console, how: Sending) -> Job:
    for remark in wanted.remarks:
        console.print(remark, markup=False)
    with tempfile.TemporaryDirectory(prefix="setr-import-") as folder:
        with count_bar(console, "packing", wanted.count) as on_file:
            file = pack(wanted, Path(folder), on_file=on_file)
        return send(client, gallery, file, console=console, how=how)


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
    client: ApiClient,
    gallery: str,
    file: Packed,
    *,
    console: Console,
    how: Sending = THROUGH_THE_SERVER,
) -> Job:
    """Upload a file under a progress bar, through the server or straight into its bucket; the import job."""
    with bytes_bar(console, "uploading", file.size_bytes) as on_bytes:
        upload = Upload(path=file.path, filename=file.filename, media_type=file.media_type, on_bytes=on_bytes)
        if how.direct:
            return client.import_source(
                gallery, {"upload_ids": [client.put_upload(gallery, upload)]}, fields=how.fields
            )
        return client.import_file(gallery, upload, fields={name: str(value) for name, value in how.fields.items()})


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
