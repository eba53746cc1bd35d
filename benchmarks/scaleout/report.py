"""Runs as a table and JSON."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.checkpoints import ARCHITECTURE
from benchmarks.report import ROOT, table, taken_on, write_results, write_section
from benchmarks.scaleout.measure import Run

DOCUMENT = ROOT / "docs" / "performance.md"


def rates(runs: Sequence[Run], images: int) -> dict[int, float]:
    """Median images/s by the number of hosts."""
    sizes = sorted({run.hosts for run in runs})
    return {hosts: statistics.median(images / run.seconds for run in runs if run.hosts == hosts) for hosts in sizes}


def summary(runs: Sequence[Run], images: int) -> dict[str, Any]:
    """`speed_up` of the largest number of hosts over one; `least_share` is that of the host with least work."""
    found = rates(runs, images)
    most = max(found)
    return {
        "images": images,
        "hosts": most,
        "images_s": {str(hosts): round(rate, 2) for hosts, rate in found.items()},
        "speed_up": round(found[most] / found[1], 3),
        "efficiency": round(found[most] / found[1] / most, 3),
        "least_share": round(statistics.median(run.least_share for run in runs if run.hosts == most), 3),
    }


def report(runs: Sequence[Run], *, images: int, command: str, write: bool) -> str:
    """The table; with `write` also into docs/performance.md and benchmarks/results/scaleout.json."""
    text = f"{_setup(runs, images, command)}\n\n{_table(rates(runs, images), summary(runs, images))}"
    if write:
        details = {
            "runs": [
                {"hosts": run.hosts, "seconds": round(run.seconds, 2), "least_share": round(run.least_share, 3)}
                for run in runs
            ]
        }
        write_results("scaleout", command=command, summary=summary(runs, images), details=details)
        write_section(DOCUMENT, "scaleout", text)
    return text


def _setup(runs: Sequence[Run], images: int, command: str) -> str:
    rounds = sum(run.hosts == 1 for run in runs)
    return (
        f"{taken_on(command)} {ARCHITECTURE}, random weights; {images} photos of 1000 x 1000 px; one ingest and one "
        f"embed worker a host, with one torch thread, on a core of their own; Postgres, Redis and S3 wherever there is "
        f"room; medians of {rounds} rounds in turns."
    )


def _table(found: Mapping[int, float], told: Mapping[str, Any]) -> str:
    rows = [
        (hosts, f"{rate:.1f}", f"{rate / found[1]:.2f}", f"{rate / found[1] / hosts:.2f}")
        for hosts, rate in found.items()
    ]
    least = f"The host with the least to do of {told['hosts']} had {100 * told['least_share']:.0f} % of the embedding."
    return f"{table(('hosts', 'images/s', 'speed-up', 'of the ideal'), rows)}\n\n{least}"
