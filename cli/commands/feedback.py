"""`setr feedback`: judgements of results and their pictures, as `setr train reranker` takes them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from mimetypes import guess_extension
from pathlib import Path, PurePosixPath

import click
from rich.console import Console

from cli.client import ApiClient
from cli.commands.connection import with_client
from cli.commands.progress import count_bar
from cli.commands.tables import messages
from cli.transport import ApiError, ClientError
from cli.wire import Json

ROWS = "feedback.jsonl"
PICTURES = "images"


@click.command("feedback")
@click.argument("gallery")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help=f"Folder for {ROWS} and the pictures; made when missing. Pictures that are there are not fetched again.",
)
@click.option("--since", metavar="TIME", help="Only what was judged since, such as 2026-11-23T00:00:00Z.")
@with_client
def feedback(*, client: ApiClient, gallery: str, out: Path, since: str | None) -> None:
    """Write what people said of results on GALLERY, with the pictures, for training a judge."""
    received, rows = out / f"{ROWS}.part", out / ROWS
    try:
        (out / PICTURES).mkdir(parents=True, exist_ok=True)
        client.feedback(gallery, received, since=since)
        named = {name for row in _rows(received) for name in (row["reference"], row["external_id"])}
        if not named:
            raise ClientError(
                "There is nothing to train on.", hint="Judge results with POST /jobs/{id}/feedback first."
            )
        written, left_out = _write(rows, _rows(received), _fetch(client, gallery, named, out, messages()))
    except OSError as error:
        raise click.ClickException(f"Cannot write to {out}: {error}") from error
    finally:
        received.unlink(missing_ok=True)
    if left_out:
        click.echo(f"{left_out} judgements are left out: the gallery does not have their pictures any more.", err=True)
    click.echo(f"{written} judgements: setr train reranker --triplets feedback:{rows}")


def _rows(path: Path) -> Iterator[Json]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _fetch(
    client: ApiClient, gallery: str, names: Iterable[str], out: Path, console: Console
) -> dict[str, PurePosixPath]:
    """Where the pictures are, below `out`, by external id; those that are gone are missing."""
    wanted, found = sorted(names), {}
    with count_bar(console, "pictures", len(wanted)) as on_picture:
        for number, name in enumerate(wanted, start=1):
            try:
                found[name] = _fetch_one(client, gallery, name, out)
            except ApiError as error:
                if not error.missing:
                    raise
            on_picture(number)
    return found


def _fetch_one(client: ApiClient, gallery: str, name: str, out: Path) -> PurePosixPath:
    image = client.image(gallery, name)
    # Named by content: an external id may be any text, and a picture that is there is the right one.
    file = PurePosixPath(image["sha256"]).name + (guess_extension(image["media_type"], strict=False) or "")
    path = out / PICTURES / file
    if not path.exists():
        part = path.with_name(f"{file}.part")
        client.picture(gallery, image["id"], part)
        part.replace(path)
    return PurePosixPath(PICTURES, file)


def _write(path: Path, rows: Iterable[Json], pictures: Mapping[str, PurePosixPath]) -> tuple[int, int]:
    written = left_out = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            reference, image = pictures.get(row["reference"]), pictures.get(row["external_id"])
            if reference is None or image is None:
                left_out += 1
                continue
            file.write(json.dumps({**row, "reference": str(reference), "image": str(image)}, ensure_ascii=False) + "\n")
            written += 1
    return written, left_out
