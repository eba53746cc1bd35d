"""`make bench-import`: 5 000, 20 000 and 50 000 small photos by manifest with the demo encoder, each twice.

Sizes that were measured already are kept, each in a file of its own, so an interrupted command goes on where it was.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import httpx

from benchmarks.checkpoints import ARCHITECTURE, random_checkpoint
from benchmarks.faults.watch import Sql
from benchmarks.imports.measure import Client, measure
from benchmarks.imports.overhead import profile
from benchmarks.imports.report import ENCODER, broken_promises, missed_goals, report
from benchmarks.pictures import catalog
from benchmarks.report import WORK, keep
from cli.local.services import temporary_data_dir
from cli.local.up import running_stack
from core.settings import Settings

SIZES = "5000,20000,50000"
_WARM_UP = 500
_FOLDER = WORK / "imports"


@click.command()
@click.option("--images", default=SIZES, show_default=True, help="Sizes, comma-separated.")
@click.option("--profile-images", default=5000, show_default=True, help="Images of the overhead's profile; 0: none.")
@click.option("--fresh", is_flag=True, help="Forget earlier runs.")
@click.option("--no-report", is_flag=True, help="Leave docs/performance.md and benchmarks/results alone.")
def main(images: str, profile_images: int, *, fresh: bool, no_report: bool) -> None:
    """Measure imports against their size. Fails when a promise was broken; a goal that was missed is only told."""
    sizes = sorted(int(size) for size in images.split(","))
    _FOLDER.mkdir(parents=True, exist_ok=True)
    if fresh:
        for path in _FOLDER.glob("*.json"):
            path.unlink()
    missing = [size for size in sizes if not _file(f"size-{size}").exists()]
    if missing:
        _measure(missing)
    if profile_images:
        _profile("demo", "demo", profile_images)
        _profile(ENCODER, f"open_clip:{ARCHITECTURE}@{random_checkpoint()}", profile_images)
    found = [json.loads(_file(f"size-{size}").read_text()) for size in sizes]
    profiles = [json.loads(path.read_text()) for path in sorted(_FOLDER.glob(f"profile-*-{profile_images}.json"))]
    command = "make bench-import" if images == SIZES else f"make bench-import IMAGES={images}"
    click.echo(report(found, profiles, command=command, write=not no_report))
    for goal in missed_goals(found, profiles):
        click.secho(f"Goal missed: {goal}.", fg="yellow", err=True)
    broken = broken_promises(found)
    if broken:
        raise click.ClickException("These promises were broken:\n" + "\n".join(broken))


def _measure(sizes: Sequence[int]) -> None:
    click.echo("Starting the service …")
    with _client() as client:
        measure(client, catalog(_WARM_UP), _WARM_UP)
        for size in sizes:
            click.echo(f"{size} images: drawing (once) and importing …")
            measured = measure(client, catalog(size), size).as_json()
            keep(_file(f"size-{size}"), measured)
            click.echo(
                f"{size} images: {measured['seconds']} s, again {measured['second_seconds']} s, "
                f"{measured['polls']} polls, {len(measured['broken'])} broken promises"
            )


def _profile(encoder: str, spec: str, images: int) -> None:
    name = f"profile-{encoder}-{images}"
    if not _file(name).exists():
        click.echo(f"Profiling {images} images with {encoder} …")
        keep(_file(name), profile(encoder, spec, catalog(images), images).as_json())


@contextmanager
def _client() -> Iterator[Client]:
    with (
        temporary_data_dir() as data_dir,
        running_stack(Settings(data_dir=data_dir, api_port=0)) as stack,
        Sql(stack.settings.database_url) as sql,
        httpx.Client(base_url=stack.url, headers={"Authorization": f"Bearer {stack.api_key}"}, timeout=600.0) as http,
    ):
        yield Client(stack, http, sql)


def _file(name: str) -> Path:
    return _FOLDER / f"{name}.json"


if __name__ == "__main__":
    main()
