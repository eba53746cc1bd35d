"""What the demo shows: ranked tables, the contact sheet, times and memory, and the verdict."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.client import ApiClient
from cli.commands.tables import explanation_lines, p_yes, results_table
from cli.demo.catalog import GALLERY
from cli.demo.contact_sheet import Cell, Row, draw_sheet
from cli.demo.memory import MemoryMeter
from cli.demo.queries import COMPOSED, TOP
from cli.demo.session import Asked
from cli.wire import Result

MIN_FOUND = 3
MEMORY_LIMIT_GIB = 6
_GIB = 1024**3
_NOTED_CONCEPTS = 3


@dataclass
class Stopwatch:
    """Seconds of each phase, in order."""

    phases: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure a block."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = time.monotonic() - start


def print_answers(console: Console, asked: Sequence[Asked]) -> None:
    """A ranked table for each query; what it means is marked."""
    for number, each in enumerate(asked, start=1):
        rows = each.answer["results"]
        console.print(f"\n[bold]{number}. {escape(each.query.title)}[/bold]")
        console.print(results_table(rows, intended=each.query.intended, limit=TOP))
        explanation = each.answer.get("explanation")
        for line in explanation_lines(explanation) if explanation else []:
            console.print(f"   [dim]{line}[/dim]")
        if each.query.text and each.query.reference and not each.answer["reranked"]:
            console.print(f"   [yellow]not re-ranked: {escape(str(each.answer.get('reason')))}[/yellow]")
        if not (each.rank and each.rank <= TOP):
            console.print(f"   [yellow]{_whereabouts(each)}[/yellow]")


def _whereabouts(asked: Asked) -> str:
    meant = ", ".join(sorted(asked.query.intended))
    return f"meant: {meant}, " + (f"rank {asked.rank}" if asked.rank else "not among the results")


def write_sheet(client: ApiClient, asked: Sequence[Asked], path: Path) -> None:
    """Draw the contact sheet, with every picture fetched over HTTP."""
    rows = [_row(client, each) for each in asked]
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_sheet(rows, title="Composed image search: this one, but …", columns=TOP).save(path)


def _row(client: ApiClient, asked: Asked) -> Row:
    query = asked.query
    reference, caption = None, ""
    if query.reference:
        reference, caption = client.thumbnail(GALLERY, query.reference), query.reference
    elif query.picture:
        reference, caption = query.picture.read_bytes(), "a new photo"
    return Row(
        kind=query.kind,
        reference=reference,
        reference_caption=caption,
        text=query.text or "(no words: more like this)",
        notes=_notes(asked),
        cells=[_cell(client, asked, row) for row in asked.answer["results"][:TOP]],
    )


def _notes(asked: Asked) -> list[str]:
    notes = [asked.query.shown_filter] if asked.query.filter else []
    explanation = asked.answer.get("explanation")
    if explanation:
        notes += [
            f"{label}: " + ", ".join(term for term, _ in concepts[:_NOTED_CONCEPTS])
            for label, concepts in (("kept", explanation["kept"]), ("dropped", explanation["dropped"]))
            if concepts
        ]
    if not (asked.rank and asked.rank <= TOP):
        notes.append(_whereabouts(asked))
    return notes


def _cell(client: ApiClient, asked: Asked, row: Result) -> Cell:
    url = row["thumbnail_url"]
    picture = client.fetch(url) if url else client.thumbnail(GALLERY, row["external_id"])
    measure = f"score {row['score']:.3f}" if row["rerank"] is None else f"P(Yes) {p_yes(row)}"
    return Cell(
        picture=picture,
        caption=f"{row['rank']}.  {row['external_id']}",
        detail=f"coarse {row['coarse']['rank']}, {measure}",
        intended=row["external_id"] in asked.query.intended,
    )


def print_summary(console: Console, watch: Stopwatch, meter: MemoryMeter) -> None:
    """Seconds by phase, and the memory of all processes."""
    table = Table(title="time", title_justify="left", show_header=False)
    table.add_column("phase")
    table.add_column("seconds", justify="right")
    for name, seconds in watch.phases.items():
        table.add_row(name, f"{seconds:.1f} s")
    table.add_row("total", f"{sum(watch.phases.values()):.1f} s", style="bold")
    console.print()
    console.print(table)
    if meter.peak_bytes:
        console.print(
            f"Peak memory {meter.peak_bytes / _GIB:.2f} GiB: sum of PSS over {meter.processes} processes"
            f" (limit {MEMORY_LIMIT_GIB} GiB)"
        )
    else:
        console.print("Memory was not measured: this system has no /proc/*/smaps_rollup.")


def verdict(asked: Sequence[Asked]) -> str:
    """What is wrong with the answers; empty when enough composed queries found what they mean."""
    composed = [each for each in asked if each.query.kind == COMPOSED]
    found = sum(each.rank is not None and each.rank <= TOP for each in composed)
    if found < MIN_FOUND:
        return f"Only {found} of {len(composed)} composed queries have the intended product among the first {TOP}."
    return ""
