"""The invariants of a job's counters, as the benchmark checks them at each poll."""

from benchmarks.imports.measure import Invariants


def progress(**counts: int | None) -> dict[str, int | None]:
    nothing: dict[str, int | None] = dict.fromkeys(
        ("total", "created", "updated", "unchanged", "deleted", "failed", "canceled", "pending"), 0
    )
    return nothing | counts


def test_a_job_as_promised_breaks_nothing() -> None:
    invariants = Invariants()
    invariants.check(progress(total=None), 0, 0)
    invariants.check(progress(total=3, pending=3), 0, 0)
    invariants.check(progress(total=3, created=1, failed=1, pending=1), 1, 1)
    invariants.check(progress(total=3, created=2, failed=1), 2, 2)
    assert (invariants.polls, invariants.broken) == (4, [])


def test_each_broken_promise_is_listed() -> None:
    invariants = Invariants()
    invariants.check(progress(total=3, created=2, pending=1), 2, 2)
    invariants.check(progress(total=3, created=1, pending=2), 1, 2)
    invariants.check(progress(total=3, created=2, pending=2), 2, 2)
    invariants.check(progress(total=3, created=3), 3, 2)
    fell, off, ahead = invariants.broken
    assert "fell" in fell
    assert "sum" in off
    assert "3 written, but 2 vectors" in ahead
