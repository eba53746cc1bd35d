"""Nights as a table and JSON."""

from collections.abc import Sequence
from typing import Any

from benchmarks.nightly.measure import Night
from benchmarks.report import ROOT, table, taken_on, write_results, write_section

DOCUMENT = ROOT / "docs" / "performance.md"


def summary(nights: Sequence[Night], *, changed: int) -> dict[str, Any]:
    """Shares are those of the delta in the first night: 1 % changed should cost about 1 % of the embedding."""
    first, idle, delta = nights
    rows = first.progress["total"]
    return {
        "rows": rows,
        "changed_share": round(changed / rows, 4),
        "embedded_share": round(delta.embedded / first.embedded, 4),
        "puts_share": round(delta.puts / first.puts, 4),
        "downloaded_share": round(delta.served.bodies / first.served.bodies, 4),
        "seconds_first": round(first.seconds, 2),
        "seconds_unchanged": round(idle.seconds, 2),
        "seconds_delta": round(delta.seconds, 2),
        "seconds_share": round(delta.seconds / first.seconds, 4),
    }


def report(nights: Sequence[Night], *, changed: int, command: str, write: bool) -> str:
    """The table; with `write` also into docs/performance.md and benchmarks/results/nightly.json."""
    rows = [
        (
            night.name,
            f"{night.seconds:.1f} s",
            night.embedded,
            night.puts,
            night.served.bodies,
            night.served.not_modified,
            *(night.progress[name] for name in ("created", "updated", "unchanged")),
        )
        for night in nights
    ]
    headers = ("night", "time", "embedded", "PUTs", "downloads", "answers 304", "created", "updated", "unchanged")
    setup = (
        f"{taken_on(command)} Demo encoder, photos of 96 px behind URLs of a manifest, `mode: mirror`; "
        f"{changed} of {nights[0].progress['total']} pictures change before the last night."
    )
    text = f"{setup}\n\n{table(headers, rows)}"
    if write:
        details = {"nights": [night.as_json() for night in nights]}
        write_results("nightly", command=command, summary=summary(nights, changed=changed), details=details)
        write_section(DOCUMENT, "nightly", text)
    return text
