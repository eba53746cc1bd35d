"""What the report of imports makes of its measurements, and what it fails for."""

from typing import Any

from benchmarks.imports.report import broken_promises, missed_goals, report


def size(images: int, seconds: float, **changes: Any) -> dict[str, Any]:
    measured = {
        "images": images,
        "seconds": seconds,
        "second_seconds": seconds / 20,
        "second_progress": {"total": images, "unchanged": images},
        "second_embed_units": 0,
        "second_puts": 0,
        "polls": 7,
        "longest_gap_s": 0.21,
        "broken": [],
        "rss_mb": {"api": 100.0, "worker-embed": 500.0},
        "own_mb": {"api": 50.0, "worker-embed": 400.0},
        "buffers_mib": 256,
    }
    return measured | changes


PROFILE = {
    "encoder": "vit-b-32",
    "images": 60,
    "whole_s": 10.0,
    "compute_s": 9.5,
    "s3_s": 0.2,
    "sql_s": 0.2,
    "queue_s": 0.1,
    "overhead_share": 0.053,
}


def test_a_run_as_it_should_be() -> None:
    sizes = [size(60, 2.0), size(120, 4.0)]
    assert broken_promises(sizes) == []
    assert missed_goals(sizes, [PROFILE]) == []
    text = report(sizes, [PROFILE], command="make bench-import", write=False)
    assert "Polled 14 times, every 0.2 s (at the longest 0.21 s apart)" in text
    assert "with 0 exceptions" in text
    assert "the part of its 256 MiB of shared buffers that is in use" in text


def test_each_broken_promise_is_named() -> None:
    sizes = [
        size(60, 2.0, broken=["the sum is off: {}"]),
        size(120, 4.0, second_puts=2, second_progress={"total": 120, "unchanged": 119, "updated": 1}),
    ]
    off, updated, stored = broken_promises(sizes)
    assert off == "60 images: the sum is off: {}"
    assert "'updated': 1" in updated
    assert stored == "120 images again: 0 embedding units, 2 PUTs"
    assert off in report(sizes, [], command="make bench-import", write=False)


def test_goals_that_were_missed_are_told() -> None:
    grown = {"api": 100.0, "worker-embed": 600.0}
    sizes = [size(60, 2.0), size(120, 4.0, rss_mb=grown, second_seconds=1.0)]
    memory, again, overhead = missed_goals(sizes, [PROFILE | {"overhead_share": 0.2}])
    assert memory.startswith("worker-embed takes 1.2 times")
    assert "0.25" in again
    assert "0.2" in overhead
