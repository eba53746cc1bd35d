"""The outcomes of all runs as a table and as JSON."""

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.faults.plan import DESCRIPTIONS, Kind
from benchmarks.faults.truth import CENSUS
from benchmarks.report import ROOT, table, taken_on, write_results, write_section

DOCUMENT = ROOT / "docs" / "reliability.md"


def is_clean(outcomes: Sequence[dict[str, Any]]) -> bool:
    """Whether nothing was lost, double or stuck in any run."""
    return not any(run["lost"] or run["duplicated"] or run["stuck"] for run in outcomes)


def report(outcomes: Sequence[dict[str, Any]], *, command: str, images: int, write: bool) -> str:
    """The table; with `write` also into docs/reliability.md and benchmarks/results/faults.json."""
    text = _text(outcomes, command=command, images=images)
    if write:
        write_results("faults", command=command, summary=_summary(outcomes), details={"runs": list(outcomes)})
        write_section(DOCUMENT, "faults", text)
    return text


def _summary(outcomes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    times = [fault["recovery_s"] for run in outcomes for fault in run["faults"] if fault["recovery_s"] is not None]
    return {
        "runs": len(outcomes),
        "faults_by_kind": dict(Counter(fault["kind"] for run in outcomes for fault in run["faults"])),
        "lost": sum(run["lost"] for run in outcomes),
        "duplicated": sum(run["duplicated"] for run in outcomes),
        "stuck": sum(run["stuck"] for run in outcomes),
        "max_recovery_s": max(times, default=None),
    }


def _text(outcomes: Sequence[dict[str, Any]], *, command: str, images: int) -> str:
    seconds = [run["seconds"] for run in outcomes]
    found = ", ".join(f"{sum(run['count'][name] for run in outcomes)} {name}" for name in CENSUS)
    lost, duplicated, stuck = (sum(run[name] for run in outcomes) for name in ("lost", "duplicated", "stuck"))
    closing = (
        f"{len(outcomes)} imports of {images} images: {statistics.median(seconds):.0f} s in the median, "
        f"{max(seconds):.0f} s at most. Found afterwards, in sum: {found} (an image has two objects, picture and "
        f"thumbnail). Lost: {lost}. Double: {duplicated}. Stuck: {stuck}."
    )
    return "\n\n".join((taken_on(command), _by_kind(outcomes), closing))


def _by_kind(outcomes: Sequence[dict[str, Any]]) -> str:
    rows = []
    for kind in Kind:
        hits = [(run, fault) for run in outcomes for fault in run["faults"] if fault["kind"] == kind]
        if not hits:
            continue
        times = [fault["recovery_s"] for _, fault in hits if fault["recovery_s"] is not None]
        rows.append(
            (
                DESCRIPTIONS[kind],
                len(hits),
                *(sum(run[name] for run, _ in hits) for name in ("lost", "duplicated", "stuck")),
                f"{statistics.median(times):.1f} s" if times else "-",
                f"{max(times):.1f} s" if times else "-",
            )
        )
    headers = ("fault", "times", "lost", "double", "stuck", "recovery, median", "recovery, longest")
    return table(headers, rows)
