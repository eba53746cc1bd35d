"""API measurements as tables and JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.api.batches import Batch
from benchmarks.api.measure import LONG_POLLS, POLLERS, Latencies, Level
from benchmarks.report import ROOT, table, taken_on, write_results, write_section

COARSE, JUDGED = "coarse", "50 candidates judged"
DOCUMENT = ROOT / "docs" / "performance.md"


@dataclass(frozen=True)
class Measured:
    """Everything that was measured, levels by ascending number of clients."""

    images: int
    submit: Latencies
    polls_open: Latencies
    polls_done: Latencies
    coarse: Sequence[Level]
    reranked: Sequence[Level]
    batches: Mapping[str, Batch]


def report(measured: Measured, *, command: str, write: bool) -> str:
    """The tables; with `write` also into docs/performance.md and benchmarks/results/api.json."""
    text = "\n\n".join(
        [f"{taken_on(command)} {measured.images} images.", _calls(measured), _queries(measured), _batches(measured)]
    )
    if write:
        write_results("api", command=command, summary=summary(measured), details=details(measured))
        write_section(DOCUMENT, "api", text)
    return text


def summary(measured: Measured) -> dict[str, Any]:
    """What the goals are about; whole queries by one client."""
    return {
        "submit_p50_ms": round(measured.submit.p50_ms, 1),
        "poll_rps": round(measured.polls_open.rate),
        "e2e_p50_ms_coarse": round(measured.coarse[0].whole.p50_ms, 1),
        "e2e_p50_ms_reranked": round(measured.reranked[0].whole.p50_ms, 1),
    }


def details(measured: Measured) -> dict[str, Any]:
    """All numbers."""
    return {
        "images": measured.images,
        "submit": _numbers(measured.submit),
        "polls": {"open_job": _numbers(measured.polls_open), "finished_query": _numbers(measured.polls_done)},
        "queries": {
            name: [
                {"clients": each.clients, "submit": _numbers(each.submit), "whole": _numbers(each.whole)}
                for each in levels
            ]
            for name, levels in (("coarse", measured.coarse), ("reranked", measured.reranked))
        },
        "batches": {
            name: {"queries": batch.queries, "seconds": round(batch.seconds, 2), "per_second": round(batch.rate, 2)}
            for name, batch in measured.batches.items()
        },
    }


def _numbers(found: Latencies) -> dict[str, float]:
    return {
        "calls": len(found.seconds),
        "p50_ms": round(found.p50_ms, 2),
        "p95_ms": round(found.p95_ms, 2),
        "per_second": round(found.rate, 2),
    }


def _calls(measured: Measured) -> str:
    polled = f"{POLLERS} connections, {LONG_POLLS} long-polls open"
    rows = [
        ["`POST /galleries/{g}/queries`, one client that waits for each answer", *_cells(measured.submit), ""],
        [f"`GET /jobs/{{id}}` of a running job; {polled}", *_cells(measured.polls_open), _rate(measured.polls_open)],
        [
            f"`GET /jobs/{{id}}` of a finished query with 20 results; {polled}",
            *_cells(measured.polls_done),
            _rate(measured.polls_done),
        ],
    ]
    return table(["call", "p50 ms", "p95 ms", "requests/s"], rows)


def _queries(measured: Measured) -> str:
    rows = [
        [name, each.clients, *_cells(each.whole), f"{each.whole.rate:.1f}", *_cells(each.submit)]
        for name, levels in ((COARSE, measured.coarse), (JUDGED, measured.reranked))
        for each in levels
    ]
    headers = ["whole query, submission to final result", "clients", "p50 ms", "p95 ms", "queries/s"]
    return table([*headers, "of it submission: p50 ms", "p95 ms"], rows)


def _batches(measured: Measured) -> str:
    rows = [
        [name, f"{batch.queries:,}", f"{batch.seconds:.1f}", f"{batch.rate:.1f}"]
        for name, batch in measured.batches.items()
    ]
    return table(["query batch, upload to the end of its job", "queries", "seconds", "queries/s"], rows)


def _cells(found: Latencies) -> list[str]:
    return [f"{found.p50_ms:.1f}", f"{found.p95_ms:.1f}"]


def _rate(found: Latencies) -> str:
    return f"{found.rate:.0f}"
