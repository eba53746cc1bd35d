"""`make bench-search`: coarse search at 10 k, 100 k and 300 k vectors, with and without filters, beside FAISS.

Sizes that were measured already are kept, each in a file of its own, so an interrupted command goes on where it was.
"""

import json
from pathlib import Path

import click

from benchmarks.report import WORK, keep
from benchmarks.search.data import SELECTIONS, gaussian, mixture
from benchmarks.search.measure import Measured, measure
from benchmarks.search.postgres import PostgresGallery, database
from benchmarks.search.report import BAR_SIZE, MIXTURE, report
from cli.local.services import temporary_data_dir

SIZES = "10k,100k,300k"
BUFFERS_MIB = 1024
_FOLDER = WORK / "search"


@click.command()
@click.option("--sizes", default=SIZES, show_default=True, help="Sizes, comma-separated; k is a thousand.")
@click.option("--fresh", is_flag=True, help="Forget earlier runs.")
@click.option("--no-report", is_flag=True, help="Leave docs/performance.md and benchmarks/results alone.")
def main(sizes: str, *, fresh: bool, no_report: bool) -> None:
    """Measure coarse search against its size."""
    wanted = sorted(int(size.strip().replace("k", "000")) for size in sizes.split(","))
    _FOLDER.mkdir(parents=True, exist_ok=True)
    if fresh:
        for path in _FOLDER.glob("*.json"):
            path.unlink()
    beside = max((size for size in wanted if size <= BAR_SIZE), default=wanted[0])
    for size in wanted:
        if not all(path.exists() for path in _files(size, with_gaussian=size == beside)):
            _measure(size, with_gaussian=size == beside)
    found = [json.loads(path.read_text()) for size in wanted for path in _files(size, with_gaussian=size == beside)]
    command = "make bench-search" if sizes == SIZES else f"make bench-search SIZES={sizes}"
    if no_report:
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo(report(found, command=command, buffers_mib=BUFFERS_MIB))


def _measure(size: int, *, with_gaussian: bool) -> None:
    click.echo(f"{size} vectors: loading, building, searching …")
    with temporary_data_dir() as data_dir, database(data_dir, buffers_mib=BUFFERS_MIB) as settings:
        gallery = PostgresGallery(settings)
        clustered = mixture(size)
        _keep(measure(gallery, clustered, distribution=MIXTURE, load=lambda: gallery.load(clustered)))
        if with_gaussian:
            even = gaussian(size)
            _keep(
                measure(
                    gallery,
                    even,
                    distribution="gaussian",
                    load=lambda: gallery.load_beside(even.vectors),
                    selections=SELECTIONS[:1],
                )
            )


def _files(size: int, *, with_gaussian: bool) -> list[Path]:
    return [_file(size, distribution) for distribution in ((MIXTURE, "gaussian") if with_gaussian else (MIXTURE,))]


def _file(size: int, distribution: str) -> Path:
    return _FOLDER / f"{distribution}-{size}.json"


def _keep(measured: Measured) -> None:
    keep(_file(measured.size, measured.distribution), measured.as_json())
    first = measured.speeds[0]
    click.echo(f"{measured.size} vectors, {measured.distribution}: p50 {first.p50_ms} ms, recall {first.recall}")


if __name__ == "__main__":
    main()
