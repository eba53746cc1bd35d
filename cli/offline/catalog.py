"""`setr catalog`: the synthetic product catalog as a ZIP that any gallery can import."""

from pathlib import Path

import click
from rich.console import Console

from cli.commands.progress import count_bar
from retrieval.datasets.catalog import write_demo_catalog


@click.group("catalog")
def catalog() -> None:
    """Work with the synthetic product catalog."""


@catalog.command("draw")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--count", type=click.IntRange(min=1), default=600, show_default=True, help="Number of products.")
@click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True, help="Same seed, same bytes.")
@click.option(
    "--size", type=click.IntRange(64, 4096), default=384, show_default=True, help="Side of a photo, in pixels."
)
def draw(*, out: Path, count: int, seed: int, size: int) -> None:
    """Draw product photos and write them to OUT, a ZIP with the manifest catalog.csv."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draw_catalog(out, count=count, seed=seed, size_px=size, console=Console(stderr=True))
    except (OSError, ValueError) as error:
        raise click.ClickException(f"Cannot draw {out}: {error}") from error
    click.echo(f"{out}: {count} photos, {out.stat().st_size / 1e6:.1f} MB. Import it: setr import {out} --gallery NAME")


def draw_catalog(path: Path, *, count: int, seed: int, size_px: int, console: Console) -> None:
    """Draw a catalog under a progress bar; the file appears only when it is whole. ValueError: `count` is too large."""
    scratch = path.with_name(f"{path.name}.part")
    try:
        with count_bar(console, "drawing", count) as on_photo:
            write_demo_catalog(scratch, count=count, seed=seed, size_px=size_px, progress=on_photo)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
