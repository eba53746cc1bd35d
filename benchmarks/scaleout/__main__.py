"""`make bench-scaleout`: the same import by one and by two hosts' worth of worker processes.

A host here is an ingest and an embed worker that share one core. They find the services by their addresses only, as
they would on another machine; there is no shared disk and no talk between them.
"""

import click

from benchmarks.checkpoints import ARCHITECTURE, random_checkpoint
from benchmarks.pictures import PHOTOS, catalog
from benchmarks.scaleout.measure import Laboratory, alternate, cores
from benchmarks.scaleout.report import report
from cli.local.services import running_services
from core.access import authenticate, issue_key
from storage.migrate import upgrade
from workers.wiring import build_context

IMAGES = 512
HOSTS = (1, 2)
# Small units, so that the last ones do not keep one host waiting for the other.
_ONE_CORE = {
    "torch_threads": 1,
    "ingest_threads": 1,
    "decode_threads": 1,
    "embed_units": 2,
    "unit_items": 32,
    "ingest_batch": 8,
    "embed_batch": 8,
}


@click.command()
@click.option("--images", default=IMAGES, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--no-report", is_flag=True, help="Leave docs/performance.md and benchmarks/results alone.")
def main(images: int, rounds: int, *, no_report: bool) -> None:
    """Compare the rates."""
    if len(cores()) < max(HOSTS):
        raise click.ClickException(f"This takes {max(HOSTS)} cores: each host has one.")
    click.echo(f"Drawing {images} photos (once) and starting the services …")
    archive, checkpoint = catalog(images, PHOTOS), random_checkpoint()
    encoders = {"bench": f"open_clip:{ARCHITECTURE}@{checkpoint}"}
    with running_services() as services:
        changes = {"encoders": encoders, "default_encoder": "bench", **_ONE_CORE}
        settings = services.settings.model_copy(update=changes)
        upgrade(settings.database_url)
        ctx = build_context(settings)
        principal = authenticate(ctx.uow, issue_key(ctx.uow, tenant="bench", label="bench"))
        laboratory = Laboratory(ctx, principal, archive, services.log_dir)
        runs = alternate(laboratory, HOSTS, rounds)
    command = "make bench-scaleout" if images == IMAGES else f"make bench-scaleout IMAGES={images}"
    click.echo(report(runs, images=images, command=command, write=not no_report))


if __name__ == "__main__":
    main()
