"""Import measurements as tables and JSON."""

from collections.abc import Sequence
from typing import Any

from benchmarks.checkpoints import ARCHITECTURE
from benchmarks.report import ROOT, table, taken_on, write_results, write_section

DOCUMENT = ROOT / "docs" / "performance.md"
ENCODER = ARCHITECTURE.lower()
MOST_GROWTH = 1.1
MOST_AGAIN = 0.1
MOST_OVERHEAD = 0.1


def report(sizes: Sequence[dict[str, Any]], profiles: Sequence[dict[str, Any]], *, command: str, write: bool) -> str:
    """The tables, sizes ascending; with `write` also into docs/performance.md and benchmarks/results/import.json."""
    parts = [f"{taken_on(command)} Demo encoder, photos of 96 px.", _growth(sizes), _promises(sizes), _memory(sizes)]
    if profiles:
        parts.append(_profiles(profiles))
    text = "\n\n".join(parts)
    if write:
        details = {"sizes": list(sizes), "profiles": list(profiles)}
        write_results("import", command=command, summary=_summary(sizes, profiles), details=details)
        write_section(DOCUMENT, "import", text)
    return text


def broken_promises(sizes: Sequence[dict[str, Any]]) -> list[str]:
    """What must hold of every import and did not."""
    broken = []
    for size in sizes:
        again = f"{size['images']} images again"
        broken += [f"{size['images']} images: {one}" for one in size["broken"]]
        if size["second_progress"]["unchanged"] != size["images"]:
            broken.append(f"{again}: {size['second_progress']}")
        if size["second_embed_units"] or size["second_puts"]:
            broken.append(f"{again}: {size['second_embed_units']} embedding units, {size['second_puts']} PUTs")
    return broken


def missed_goals(sizes: Sequence[dict[str, Any]], profiles: Sequence[dict[str, Any]]) -> list[str]:
    """Goals of memory and time, which depend on the machine, that were not reached."""
    summary = _summary(sizes, profiles)
    missed = [
        f"{name} takes {growth} times the memory at {sizes[-1]['images']} images that it takes at {sizes[0]['images']}"
        for name, growth in summary["rss_growth"].items()
        if growth is not None and growth > MOST_GROWTH
    ]
    if summary["second_import_share"] > MOST_AGAIN:
        missed.append(f"the second import takes {summary['second_import_share']} of the first one's time")
    if summary["overhead_share"] is not None and summary["overhead_share"] >= MOST_OVERHEAD:
        missed.append(f"queue, SQL and S3 add {summary['overhead_share']} to the compute time")
    return missed


def _summary(sizes: Sequence[dict[str, Any]], profiles: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`overhead_share` is that of an encoder of real size; `rss_growth` compares the last size with the first."""
    first, last = sizes[0], sizes[-1]
    shares = {one["encoder"]: one["overhead_share"] for one in profiles}
    return {
        "images": {str(size["images"]): size["seconds"] for size in sizes},
        "peak_rss_mb": last["rss_mb"],
        "rss_growth": {name: _ratio(value, first["rss_mb"].get(name)) for name, value in last["rss_mb"].items()},
        "overhead_share": shares.get(ENCODER),
        "overhead_shares": shares,
        "second_import_share": round(last["second_seconds"] / last["seconds"], 3),
        "broken_promises": len(broken_promises(sizes)),
        "second_import_embed_units": sum(size["second_embed_units"] for size in sizes),
        "second_import_puts": sum(size["second_puts"] for size in sizes),
    }


def _ratio(value: float, base: float | None) -> float | None:
    return round(value / base, 3) if base else None


def _growth(sizes: Sequence[dict[str, Any]]) -> str:
    rows = [
        (
            size["images"],
            f"{size['seconds']:.1f} s",
            f"{size['images'] / size['seconds']:.0f}",
            f"{size['second_seconds']:.1f} s",
            f"{100 * size['second_seconds'] / size['seconds']:.1f} %",
            size["second_progress"]["unchanged"],
            f"{size['second_embed_units']} / {size['second_puts']}",
        )
        for size in sizes
    ]
    headers = ("images", "import", "images/s", "the same again", "share", "`unchanged`", "embedding units / PUTs again")
    return table(headers, rows)


def _promises(sizes: Sequence[dict[str, Any]]) -> str:
    polls, gap_s = sum(size["polls"] for size in sizes), max(size.get("longest_gap_s", 0.0) for size in sizes)
    broken = broken_promises(sizes)
    text = (
        f"Polled {polls} times, every 0.2 s (at the longest {gap_s} s apart): the sum held, nothing but `pending` fell,"
        f" `created` + `updated` never exceeded the rows that have a vector, and all images had one at the end, with"
        f" {len(broken)} exceptions."
    )
    return "\n".join([text, *(f"- {one}" for one in broken)])


def _memory(sizes: Sequence[dict[str, Any]]) -> str:
    first, last = sizes[0], sizes[-1]
    rows = [
        (
            name,
            *(f"{size['rss_mb'].get(name, 0):.0f}" for size in sizes),
            f"{value / first['rss_mb'][name]:.2f}" if first["rss_mb"].get(name) else "-",
            *(f"{size['own_mb'].get(name, 0):.0f}" for size in sizes),
        )
        for name, value in last["rss_mb"].items()
    ]
    headers = (
        "process",
        *(f"RSS at {size['images']}" for size in sizes),
        "growth",
        *(f"own at {size['images']}" for size in sizes),
    )
    note = (
        "Peak memory in MB: RSS of the largest process of that name, and anonymous memory of all of them. The RSS of"
        f" Postgres grows with the part of its {last['buffers_mib']} MiB of shared buffers that is in use; its own"
        " memory does not."
    )
    return f"{table(headers, rows)}\n\n{note}"


def _profiles(profiles: Sequence[dict[str, Any]]) -> str:
    rows = [
        (
            one["encoder"],
            one["images"],
            f"{one['whole_s']:.1f} s",
            f"{one['compute_s']:.1f} s",
            f"{one['s3_s']:.1f} s",
            f"{one['sql_s']:.1f} s",
            f"{one['queue_s']:.1f} s",
            f"{100 * one['overhead_share']:.1f} %",
        )
        for one in profiles
    ]
    headers = ("encoder", "images", "whole", "compute", "S3", "SQL", "queue", "S3 + SQL + queue against compute")
    note = "One thread does everything, one step after the other, so nothing hides behind anything else:"
    return f"{note}\n\n{table(headers, rows)}"
