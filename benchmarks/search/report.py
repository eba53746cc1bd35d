"""Measured searches as tables, JSON and a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, ROOT, table, taken_on, write_results, write_section
from benchmarks.search.data import COSINE, DIM, QUERIES
from benchmarks.search.plot import draw
from benchmarks.search.speeds import CLIENTS, LIMIT

DOCUMENT = ROOT / "docs" / "performance.md"
BAR_SIZE = 100_000
MIXTURE = "mixture"
_PICTURE = Path("images") / "search.png"

Content = Mapping[str, Any]


def report(
    measured: Sequence[Content], *, command: str, buffers_mib: int, document: Path = DOCUMENT, results: Path = RESULTS
) -> str:
    """Write docs/performance.md, its picture and benchmarks/results/search.json; returns the text."""
    taken = (
        f"{taken_on(command)} Shared buffers of Postgres: {buffers_mib} MiB. {DIM} dimensions, {QUERIES} held-out "
        f"queries for the nearest {LIMIT}, mean cosine within a cluster {COSINE}."
    )
    picture = f"![Time and recall of a coarse search, by size and filter]({_PICTURE.as_posix()})"
    parts = (taken, _speeds(measured), _sizes(measured), picture)
    text = "\n\n".join(parts)
    details = {"measured": list(measured), "buffers_mib": buffers_mib}
    write_results("search", command=command, summary=summary(measured), details=details, folder=results)
    draw([each for each in measured if each["distribution"] == MIXTURE], document.parent / _PICTURE)
    write_section(document, "search", text)
    return text


def summary(measured: Sequence[Content]) -> dict[str, float | None]:
    """The figures that are compared with the goals; None where that size was not measured."""
    found = {
        (speed["engine"], speed["selection"]): speed
        for each in measured
        if each["size"] == BAR_SIZE and each["distribution"] == MIXTURE
        for speed in each["speeds"]
    }

    def figure(engine: str, selection: str, name: str) -> float | None:
        return found[engine, selection][name] if (engine, selection) in found else None

    return {
        "p50_ms_100k": figure("postgres", "no filter", "p50_ms"),
        "recall50_100k": figure("postgres", "no filter", "recall"),
        "recall50_100k_filter1pct": figure("postgres", "1 %", "recall"),
        "p50_ms_100k_filter1pct": figure("postgres", "1 %", "p50_ms"),
        "faiss_hnsw_p50_ms_100k": figure("faiss hnsw", "no filter", "p50_ms"),
    }


def _speeds(measured: Sequence[Content]) -> str:
    rows = [
        (
            _name(each),
            speed["selection"],
            speed["engine"],
            f"{speed['p50_ms']:.1f}",
            f"{speed['p95_ms']:.1f}",
            f"{speed['p99_ms']:.1f}",
            f"{speed['recall']:.3f}",
            f"{speed['clients_qps']:.0f}",
        )
        for each in measured
        for speed in each["speeds"]
    ]
    headers = ("vectors", "filter keeps", "engine", "p50 ms", "p95 ms", "p99 ms", f"recall@{LIMIT}")
    return table((*headers, f"queries/s, {CLIENTS} clients"), rows)


def _sizes(measured: Sequence[Content]) -> str:
    rows = [
        (
            _name(each),
            f"{each['load_s']:.0f} s",
            f"{each['build_s']:.0f} s" if each["index_mb"] else "none needed",
            f"{each['table_mb']} + {each['index_mb']} MB",
            f"{each['faiss_build_s']:.0f} s",
            f"{each['faiss_mb']} MB",
        )
        for each in measured
    ]
    headers = ("vectors", "images and vectors written in", "HNSW built in", "table + index")
    return table((*headers, "FAISS HNSW built in", "FAISS HNSW"), rows)


def _name(each: Content) -> str:
    return f"{each['size']:,}".replace(",", " ") + (
        "" if each["distribution"] == MIXTURE else f", {each['distribution']}"
    )
