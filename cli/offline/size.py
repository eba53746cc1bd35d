"""`setr size`: what a gallery of so many images takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from cli.offline.sizing import Load, Prices, Rates, Sizing, Workers, size

EXAMPLES = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
_PARTS = (Load, Rates, Workers, Prices)
_MIN_COLUMNS = 100
_TB_GB = 1000
_DAYS_FROM_H = 48
_TENTHS_BELOW = 10
Command = TypeVar("Command", bound=Callable[..., Any])
Part = TypeVar("Part", Load, Rates, Workers, Prices)
ROWS: tuple[tuple[str, Callable[[Sizing], str]], ...] = (
    ("pictures in the object store", lambda one: _gb(one.pictures_gb)),
    ("thumbnails in the object store", lambda one: _gb(one.thumbnails_gb)),
    ("Postgres: rows and attributes", lambda one: _gb(one.rows_gb)),
    ("Postgres: vectors, all generations", lambda one: _gb(one.vectors_gb)),
    ("Postgres: HNSW, all generations", lambda one: _gb(one.hnsw_gb)),
    ("Postgres: disk in all", lambda one: _gb(one.disk_gb)),
    ("Postgres: memory", lambda one: _gb(one.memory_gb)),
    ("first import: core hours of ingest", lambda one: _number(one.ingest_core_hours)),
    ("first import: GPU hours of embedding", lambda one: _number(one.embed_gpu_hours)),
    ("   or core hours of embedding", lambda one: _number(one.embed_core_hours)),
    ("first import: duration", lambda one: _hours(one.import_hours)),
    ("HNSW build: duration", lambda one: _hours(one.build_hours)),
    ("a night's delta: duration", lambda one: _hours(one.night_hours)),
    ("query workers: cores", lambda one: _number(one.query_cores)),
    ("judges: GPUs", lambda one: _number(one.judge_gpus)),
    ("cost of the first import", lambda one: _number(one.import_cost)),
    ("cost of a month", lambda one: _number(one.month_cost)),
)


def _assumptions(command: Command) -> Command:
    """An option for each assumption, with its default."""
    for part in reversed(_PARTS):
        for each in reversed(fields(part)):
            option = f"--{each.name.replace('_', '-')}"
            kind = click.FloatRange(min=0)
            command = click.option(option, type=kind, default=each.default, show_default=True, **each.metadata)(command)
    return command


@click.command("size")
@click.option("--images", type=click.IntRange(min=1), multiple=True, help="Images; repeat it.  [default: 1 M to 1 B]")
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@_assumptions
def size_command(*, images: Sequence[int], markdown: bool, **given: float) -> None:
    """Estimate storage, memory, workers, durations and cost; docs/scaling.md has the formulas.

    Every assumption is an option. Defaults are figures of the project's benchmarks, or examples: put in your own.
    """
    assumed = (_part(Load, given), _part(Rates, given), _part(Workers, given), _part(Prices, given))
    try:
        found = [size(count, *assumed) for count in images or EXAMPLES]
    except (ValueError, ZeroDivisionError) as error:
        raise click.UsageError(f"These assumptions do not go together: {error}.") from error
    _print(found, markdown=markdown)


def _part(part: type[Part], given: Mapping[str, float]) -> Part:
    return part(**{each.name: given[each.name] for each in fields(part)})


def _print(found: Sequence[Sizing], *, markdown: bool) -> None:
    headings = ["images", *(f"{one.images:,}" for one in found)]
    rows = [[name, *(shown(one) for one in found)] for name, shown in ROWS]
    if markdown:
        for line in (headings, ["---"] + ["---:"] * len(found), *rows):
            click.echo("| " + " | ".join(cell.strip() for cell in line) + " |")
        return
    table = Table()
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _MIN_COLUMNS)
    console.print(table)


def _gb(value: float) -> str:
    return f"{value / _TB_GB:,.1f} TB" if value >= _TB_GB else f"{_number(value)} GB"


def _hours(value: float) -> str:
    if value < 1:
        return f"{60 * value:.0f} min"
    return f"{value / 24:,.1f} days" if value >= _DAYS_FROM_H else f"{value:.1f} h"


def _number(value: float) -> str:
    return f"{value:,.1f}" if value < _TENTHS_BELOW and value != int(value) else f"{value:,.0f}"
