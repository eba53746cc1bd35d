"""`make test-faults`: 50 runs of a 2 000-image import with two faults each, and the report in docs/reliability.md.

A run's outcome is kept in a file of its own, so an interrupted command goes on where it was.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.faults.plan import RUNS, strikes
from benchmarks.faults.report import is_clean, report
from benchmarks.faults.run import Lab, laboratory, run
from benchmarks.pictures import catalog, catalog_truth
from benchmarks.report import WORK, keep
from cli.local.services import temporary_data_dir
from cli.local.up import running_stack
from core.settings import Settings

IMAGES = 2000


@click.command()
@click.option("--seeds", default=RUNS, show_default=True, help="How many runs; each seed names two faults.")
@click.option("--first", default=0, show_default=True, help="The first seed.")
@click.option("--images", default=IMAGES, show_default=True, help="Images of an import.")
@click.option("--fresh", is_flag=True, help="Forget earlier runs.")
@click.option("--no-report", is_flag=True, help="Leave docs/reliability.md and benchmarks/results alone.")
def main(seeds: int, first: int, images: int, *, fresh: bool, no_report: bool) -> None:
    """Hurt imports and count what became of them. Exit code 1 when anything was lost, double or stuck."""
    folder = WORK / f"faults-{images}"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = range(first, first + seeds)
    if fresh:
        for seed in wanted:
            _file(folder, seed).unlink(missing_ok=True)
    missing = [seed for seed in wanted if not _file(folder, seed).exists()]
    click.echo(f"{len(wanted) - len(missing)} of {len(wanted)} runs are done already (in {folder}).")
    if missing:
        _run_all(folder, missing, images)
    outcomes: list[dict[str, Any]] = [json.loads(_file(folder, seed).read_text()) for seed in wanted]
    command = (
        f"make test-faults IMAGES={images} SEEDS={seeds}" if images != IMAGES or seeds != RUNS else "make test-faults"
    )
    click.echo(report(outcomes, command=command, images=images, write=not no_report))
    sys.exit(0 if is_clean(outcomes) else 1)


def _run_all(folder: Path, seeds: Sequence[int], images: int) -> None:
    click.echo("Drawing the pictures and starting the service …")
    path = catalog(images)
    with (
        temporary_data_dir() as data_dir,
        running_stack(Settings(data_dir=data_dir, api_port=0, log_level="INFO")) as stack,
        laboratory(stack, path, catalog_truth(path)) as lab,
    ):
        undisturbed = run(lab, "undisturbed", ())
        click.echo(f"undisturbed: {undisturbed.seconds:.1f} s {_problems(undisturbed.count.deviations())}")
        for number, seed in enumerate(seeds, start=1):
            _run_seed(lab, folder, seed, f"{number}/{len(seeds)}")


def _run_seed(lab: Lab, folder: Path, seed: int, place: str) -> None:
    began_s = time.monotonic()
    outcome = run(lab, f"seed-{seed}", strikes(seed))
    whole_s = time.monotonic() - began_s
    content = {"seed": seed, "whole_s": round(whole_s, 2), **outcome.as_json()}
    keep(_file(folder, seed), content)
    hurt = ", ".join(f"{one.strike.kind} ({one.seconds or float('nan'):.1f} s)" for one in outcome.recoveries)
    deviations = _problems(outcome.count.deviations())
    click.echo(f"{place} seed {seed}: {outcome.state} in {outcome.seconds:.1f} s; {hurt}; {deviations}")


def _problems(deviations: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in deviations.items()) or "clean"


def _file(folder: Path, seed: int) -> Path:
    return folder / f"seed-{seed:02d}.json"


if __name__ == "__main__":
    main()
