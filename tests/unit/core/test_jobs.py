"""The state machine of jobs and how they end."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConflictError
from core.ids import new_id
from core.jobs import TERMINAL, TRANSITIONS, check_transition, closing_state, eta_seconds
from core.models import Counters, Job, JobKind, JobStage, JobState

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def job(*, state: JobState = JobState.RUNNING, counters: Counters | None = None) -> Job:
    return Job(
        id=new_id(),
        tenant_id=new_id(),
        kind=JobKind.IMPORT,
        state=state,
        stage=JobStage.EMBEDDING,
        gallery_id=None,
        gallery_name="g",
        params={},
        counters=counters or Counters(),
        result=None,
        error=None,
        warnings=(),
        version=1,
        created_at=BEGAN,
        started_at=BEGAN,
        finished_at=None,
        expires_at=BEGAN + timedelta(days=30),
    )


@given(st.lists(st.sampled_from(list(JobState)), max_size=12))
def test_no_walk_leaves_a_terminal_state(wanted: list[JobState]) -> None:
    state = JobState.QUEUED
    for after in wanted:
        before = state
        try:
            check_transition(state, after)
        except ConflictError:
            assert after not in TRANSITIONS[before]
        else:
            assert before not in TERMINAL
            state = after


@pytest.mark.parametrize("state", [state for state in JobState if state not in TERMINAL])
def test_every_open_state_can_end(state: JobState) -> None:
    reachable = {state}
    while True:
        more = {after for before in reachable for after in TRANSITIONS[before]} - reachable
        if not more:
            break
        reachable |= more
    assert reachable & TERMINAL


@pytest.mark.parametrize(
    ("state", "counters", "failed", "end"),
    [
        (JobState.RUNNING, Counters(total=3, created=3), False, JobState.SUCCEEDED),
        (JobState.RUNNING, Counters(total=3, unchanged=2, failed=1), False, JobState.PARTIALLY_SUCCEEDED),
        (JobState.RUNNING, Counters(total=2, failed=2), False, JobState.FAILED),
        (JobState.RUNNING, Counters(total=0), False, JobState.SUCCEEDED),
        (JobState.RUNNING, Counters(total=9, created=4), True, JobState.FAILED),
        (JobState.RUNNING, Counters(total=9, created=4, failed=1), True, JobState.FAILED),
        (JobState.CANCELLING, Counters(total=9, created=4, failed=1), False, JobState.CANCELED),
    ],
)
def test_how_a_job_ends(state: JobState, counters: Counters, failed: bool, end: JobState) -> None:  # noqa: FBT001
    assert closing_state(state, counters, failed=failed) is end


counts = st.integers(0, 50)


@given(counts, counts, counts, counts, counts)
def test_counters_add_up(created: int, updated: int, unchanged: int, failed: int, pending: int) -> None:
    total = created + updated + unchanged + failed + pending
    counters = Counters(total=total, created=created, updated=updated, unchanged=unchanged, failed=failed)
    assert counters.pending == pending
    assert counters.done + counters.pending == counters.total


def test_nothing_is_pending_while_the_total_is_unknown() -> None:
    assert Counters().pending == 0


def test_eta_extrapolates_the_mean_rate() -> None:
    running = job(counters=Counters(total=100, created=20))
    assert eta_seconds(running, BEGAN + timedelta(seconds=10)) == 40


@pytest.mark.parametrize(
    "unknown", [job(counters=Counters(total=5)), job(state=JobState.SUCCEEDED, counters=Counters(total=5, created=5))]
)
def test_no_eta_without_a_rate_or_after_the_end(unknown: Job) -> None:
    assert eta_seconds(unknown, BEGAN + timedelta(seconds=10)) is None
