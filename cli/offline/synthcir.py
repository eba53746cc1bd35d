"""`setr synthcir`: the benchmark that is drawn from the synthetic catalog."""

from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from core.errors import ServiceError
from retrieval.datasets.synthcir import WriteOptions, write_synthcir


@click.group("synthcir")
def synthcir() -> None:
    """Work with SynthCIR, a benchmark of composed retrieval in CIRR's file layout."""


@synthcir.command("write")
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True, help="Same seed, same bytes.")
@click.option("--size", type=click.IntRange(64, 4096), default=96, show_default=True, help="Side of a photo in pixels.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that draw.")
def write(*, out: Path, seed: int, size: int, workers: int) -> None:
    """Draw all three splits and write them to OUT, a new folder."""
    options = WriteOptions(seed=seed, size_px=size, workers=workers)
    try:
        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task("drawing", total=None)
            write_synthcir(out, options, progress=lambda done, total: bar.update(task, completed=done, total=total))
    except (ServiceError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{out} is written. Evaluate on it: setr eval synthcir --data {out}")
