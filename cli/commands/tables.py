"""Tables that people read: results of a query, jobs, galleries."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.wire import OUTCOMES, Answer, Explanation, Gallery, Index, Item, Job, Result

_MIN_COLUMNS = 110
_SHOWN_ATTRIBUTES = 6
_SHOWN_CONCEPTS = 8
STATE_STYLES = {"succeeded": "green", "partially_succeeded": "yellow", "failed": "red", "canceled": "yellow"}


def output() -> Console:
    """Stdout; wide enough for the tables where it is no terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _MIN_COLUMNS)
    return console


def messages() -> Console:
    """Stderr, for progress and remarks, so that stdout stays clean."""
    return Console(stderr=True, highlight=False)


def results_table(results: Sequence[Result], *, intended: Collection[str] = (), limit: int | None = None) -> Table:
    """Ranked results; the external ids in `intended` are marked."""
    table = Table()
    for heading, justify in (("rank", "right"), ("external_id", "left"), ("score", "right")):
        table.add_column(heading, justify=cast(Any, justify), no_wrap=True)
    table.add_column("coarse", justify="right", no_wrap=True)
    table.add_column("P(Yes)", justify="right", no_wrap=True)
    if intended:
        table.add_column("", no_wrap=True)
    table.add_column("attributes", overflow="fold")
    for row in results[:limit]:
        found = row["external_id"] in intended
        table.add_row(
            str(row["rank"]),
            escape(row["external_id"]),
            f"{row['score']:.3f}",
            str(row["coarse"]["rank"]),
            p_yes(row),
            *(["✓" if found else ""] if intended else []),
            escape(_attributes_line(row["attributes"])),
            style="green" if found else None,
        )
    return table


def p_yes(row: Result) -> str:
    """P(Yes) of a result, or a dash when the judge did not see it."""
    judged = row["rerank"]
    return "-" if judged is None or judged["p_yes"] is None else f"{judged['p_yes']:.3f}"


def _attributes_line(attributes: Mapping[str, Any]) -> str:
    """A few attributes that have a value, as `name=value`: words before numbers, which say less about a picture."""
    known = sorted(attributes.items(), key=lambda item: (not isinstance(item[1], str), item[0]))
    named = [f"{name}={value}" for name, value in known if value not in ("", None)]
    more = len(named) - _SHOWN_ATTRIBUTES
    return "  ".join(named[:_SHOWN_ATTRIBUTES]) + (f"  (+{more})" if more > 0 else "")


def explanation_lines(explanation: Explanation) -> list[str]:
    """What the query kept and dropped of the reference."""
    return [
        f"{label}: " + ", ".join(f"{escape(term)} {weight:.2f}" for term, weight in concepts[:_SHOWN_CONCEPTS])
        for label, concepts in (("kept", explanation["kept"]), ("dropped", explanation["dropped"]))
        if concepts
    ]


def print_answer(console: Console, job: Job, *, explain: bool = True) -> None:
    """The result of a query that ended, with what was done differently than asked."""
    answer = cast(Answer, job["result"])
    console.print(results_table(answer["results"]))
    if not answer["results"]:
        console.print("No image of the gallery matches.")
    explanation = answer.get("explanation")
    if explain and explanation:
        for line in explanation_lines(explanation):
            console.print(line)
    console.print(f"[dim]strategy {answer['strategy']}, {_judged(answer)}{_timings(answer)}[/dim]")
    print_warnings(console, job)


def _judged(answer: Answer) -> str:
    if answer["reranked"]:
        return "re-ranked by the judge"
    reason = answer.get("reason")
    return f"coarse order ({escape(reason)})" if reason else "coarse order"


def _timings(answer: Answer) -> str:
    return "".join(f", {name} {value:.0f} ms" for name, value in answer.get("timings_ms", {}).items())


def print_warnings(console: Console, job: Job) -> None:
    """What the server did differently than asked."""
    for warning in job.get("warnings", []):
        console.print(f"[yellow]Note:[/yellow] {escape(str(warning))}")


def counters_table(job: Job) -> Table:
    """The counters of a job, with only the outcomes that occurred."""
    progress: Mapping[str, Any] = job["progress"]
    table = Table()
    table.add_column("outcome")
    table.add_column("items", justify="right")
    for outcome in (*OUTCOMES, "pending"):
        if progress[outcome]:
            table.add_row(outcome, f"{progress[outcome]:,}", style="red" if outcome == "failed" else None)
    total = progress["total"]
    table.add_row("total", "?" if total is None else f"{total:,}", style="bold")
    return table


def failed_table(items: Sequence[Item], failed: int) -> Table:
    """The first failed items with their reasons; `failed` is how many there are in all."""
    table = Table(title=f"first {len(items)} of {failed:,} failed items", title_justify="left")
    for heading in ("external_id", "source", "code", "detail"):
        table.add_column(heading, overflow="fold")
    for item in items:
        table.add_row(*(escape(str(item.get(name) or "")) for name in ("external_id", "source", "code", "detail")))
    return table


def jobs_table(jobs: Sequence[Job]) -> Table:
    """Jobs, one a row."""
    table = Table()
    for heading in ("job", "kind", "gallery", "state", "stage", "done", "failed", "created"):
        table.add_column(heading, no_wrap=heading == "job")
    for job in jobs:
        table.add_row(
            job["id"],
            job["kind"],
            escape(job["gallery"] or ""),
            state_markup(job["state"]),
            job["stage"],
            _done_of_total(job),
            f"{job['progress']['failed']:,}",
            job["created_at"][:19].replace("T", " "),
        )
    return table


def _done_of_total(job: Job) -> str:
    """`finished/total` of a job's items; the total is unknown until planning ends."""
    total = job["progress"]["total"]
    return "" if total is None else f"{total - job['progress']['pending']:,}/{total:,}"


def state_markup(state: str) -> str:
    """A state in its colour."""
    style = STATE_STYLES.get(state)
    return f"[{style}]{state}[/{style}]" if style else state


def galleries_table(galleries: Sequence[Gallery]) -> Table:
    """Galleries, one a row."""
    table = Table()
    table.add_column("gallery")
    table.add_column("images", justify="right")
    table.add_column("encoder")
    table.add_column("created")
    for gallery in galleries:
        created = gallery["created_at"][:19].replace("T", " ")
        table.add_row(escape(gallery["name"]), f"{gallery['image_count']:,}", escape(gallery["encoder"]), created)
    return table


def indexes_table(indexes: Sequence[Index]) -> Table:
    """Indexes of a gallery, one a row, the active one in green."""
    table = Table()
    for heading in ("index", "encoder", "state", "pending", "built", "created"):
        justify = cast(Any, "right" if heading in {"pending", "built"} else "left")
        table.add_column(heading, no_wrap=heading == "index", justify=justify)
    for index in indexes:
        created = index["created_at"][:19].replace("T", " ")
        counts = (f"{index['pending']:,}", f"{index['built']:.0%}")
        row = (index["id"], escape(index["encoder"]), index["state"], *counts, created)
        table.add_row(*row, style="green" if index["state"] == "active" else None)
    return table
