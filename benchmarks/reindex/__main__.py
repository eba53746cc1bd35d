"""`make bench-reindex`: a gallery of 20 000 images is re-indexed under load, a worker killed, and it is undone."""

import sys
from pathlib import Path

import click
import httpx

from benchmarks.checkpoints import narrowed_encoder
from benchmarks.faults.watch import Sql
from benchmarks.pictures import catalog
from benchmarks.reindex.load import Rates
from benchmarks.reindex.measure import Plan, Trial
from benchmarks.reindex.report import is_clean, report
from cli.local.services import temporary_data_dir
from cli.local.up import running_stack
from core.settings import Settings

IMAGES = 20_000
FIRST, SECOND = "demo", "narrow"
SECOND_DIM = 96


@click.command()
@click.option("--images", default=IMAGES, show_default=True, help="Images of the gallery.")
@click.option("--queries", default=5, show_default=True, type=click.IntRange(min=1), help="Queries a second.")
@click.option("--upserts", default=20, show_default=True, type=click.IntRange(min=1), help="Upserts a second.")
@click.option("--no-report", is_flag=True, help="Leave docs/performance.md and benchmarks/results alone.")
def main(images: int, queries: int, upserts: int, *, no_report: bool) -> None:
    """Re-index under load. Exit code 1 when a query failed, or anything was missing or stale."""
    click.echo(f"Drawing {images} photos (once) and starting the service …")
    plan = Plan(images, catalog(images), FIRST, SECOND, Rates(upserts=upserts, queries=queries))
    with (
        temporary_data_dir() as data_dir,
        running_stack(_settings(data_dir)) as stack,
        Sql(stack.settings.database_url) as sql,
        httpx.Client(base_url=stack.url, headers={"Authorization": f"Bearer {stack.api_key}"}, timeout=60.0) as http,
    ):
        outcome = Trial(stack, http, sql, plan).run()
    usual = (images, queries, upserts) == (IMAGES, 5, 20)
    command = "make bench-reindex" if usual else f"python -m benchmarks.reindex --images {images}"
    click.echo(report(plan, outcome, command=command, write=not no_report))
    for line in (*outcome.tally.failures, *outcome.tally.missing, *outcome.tally.failed_upserts):
        click.echo(line, err=True)
    sys.exit(0 if is_clean(plan, outcome) else 1)


def _settings(data_dir: Path) -> Settings:
    folder = narrowed_encoder(Settings(data_dir=data_dir).models_dir / "demo-encoder", SECOND_DIM)
    return Settings(data_dir=data_dir, api_port=0, encoders={FIRST: "demo", SECOND: f"local-dir:{folder.resolve()}"})


if __name__ == "__main__":
    main()
