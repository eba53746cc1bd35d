"""What the report of searches makes of its measurements."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.search.report import report, summary


def speed(engine: str, selection: str, p50_ms: float, recall: float) -> dict[str, Any]:
    times = {"p50_ms": p50_ms, "p95_ms": 2 * p50_ms, "p99_ms": 3 * p50_ms}
    return {"engine": engine, "selection": selection, **times, "recall": recall, "clients_qps": 1000 / p50_ms}


def measured(size: int, distribution: str = "mixture", *, ms: float = 4.0, index_mb: int = 270) -> dict[str, Any]:
    return {
        "size": size,
        "distribution": distribution,
        "load_s": 61.2,
        "build_s": 30.4,
        "table_mb": 230,
        "index_mb": index_mb,
        "faiss_build_s": 20.6,
        "faiss_mb": 220,
        "speeds": [
            speed("postgres", "no filter", ms, 0.9871),
            speed("faiss hnsw", "no filter", ms / 8, 0.96),
            speed("faiss flat", "no filter", 3 * ms, 1.0),
            speed("postgres", "1 %", ms / 2, 0.9992),
        ],
    }


def test_the_summary_is_of_the_mixture_of_100_thousand() -> None:
    sizes = [measured(10_000, ms=1.0), measured(100_000), measured(100_000, "gaussian", ms=9.0)]
    assert summary(sizes) == {
        "p50_ms_100k": 4.0,
        "recall50_100k": 0.9871,
        "recall50_100k_filter1pct": 0.9992,
        "p50_ms_100k_filter1pct": 2.0,
        "faiss_hnsw_p50_ms_100k": 0.5,
    }


def test_what_was_not_measured_is_none() -> None:
    assert set(summary([measured(10_000)]).values()) == {None}


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "docs" / "performance.md"
    path.parent.mkdir()
    path.write_text("before\n<!-- search:begin -->\nold\n<!-- search:end -->\nafter\n")
    return path


def test_tables_figures_and_picture_are_written(document: Path, tmp_path: Path) -> None:
    sizes = [measured(10_000, index_mb=0), measured(100_000), measured(100_000, "gaussian")]
    text = report(sizes, command="make bench-search", buffers_mib=512, document=document, results=tmp_path)
    assert document.read_text() == f"before\n<!-- search:begin -->\n\n{text}\n\n<!-- search:end -->\nafter\n"
    assert "`make bench-search`" in text
    assert "Shared buffers of Postgres: 512 MiB." in text
    assert "| 100 000 | no filter | postgres | 4.0 | 8.0 | 12.0 | 0.987 | 250 |" in text
    assert "| 100 000, gaussian | 1 % | postgres | 2.0 | 4.0 | 6.0 | 0.999 | 500 |" in text
    assert "| 10 000 | 61 s | none needed | 230 + 0 MB | 21 s | 220 MB |" in text
    assert "| 100 000 | 61 s | 30 s | 230 + 270 MB | 21 s | 220 MB |" in text
    written = json.loads((tmp_path / "search.json").read_text())
    assert (written["summary"], written["measured"], written["buffers_mib"]) == (summary(sizes), sizes, 512)
    assert (document.parent / "images" / "search.png").read_bytes().startswith(b"\x89PNG")
