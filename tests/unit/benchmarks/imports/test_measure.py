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


def test_a_total_neither_falls_nor_is_forgotten() -> None:
    invariants = Invariants()
    for counts in ({"total": 3, "pending": 3}, {"total": 2, "pending": 2}, {"total": None}, {"total": 3, "pending": 3}):
        invariants.check(progress(**counts), 0, 0)
    assert invariants.broken == ["the total fell: 3 -> 2", "the total fell: 2 -> None"]


def test_a_sum_that_holds_by_a_negative_rest_is_off() -> None:
    invariants = Invariants()
    invariants.check(progress(total=1, created=2, pending=-1), 2, 2)
    assert len(invariants.broken) == 1


def test_the_end_is_what_was_expected_and_nothing_else() -> None:
    expected = {"total": 2, "created": 2}
    for job, vectors in (
        ({"state": "succeeded", "progress": progress(total=2, created=2)}, 1),
        ({"state": "succeeded", "progress": progress(total=2, created=1, unchanged=1)}, 2),
        ({"state": "partially_succeeded", "progress": progress(total=2, created=2)}, 2),
    ):
        invariants = Invariants()
        invariants.check_end(job, expected, vectors)
        assert len(invariants.broken) == 1
    invariants = Invariants()
    invariants.check_end({"state": "succeeded", "progress": progress(total=2, created=2)}, expected, 2)
    assert invariants.broken == []
