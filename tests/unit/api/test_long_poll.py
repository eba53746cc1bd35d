"""Long-polls, on a clock of their own."""

from dataclasses import dataclass, field, replace
from uuid import uuid4

import pytest

from api.long_poll import FIRST_PAUSE_S, LONGEST_PAUSE_S, LongPolls, wait_for_change
from core.models import Counters, Job, JobKind, JobStage, JobState
from tests.unit.api.fakes import NOW

JOB = Job(
    id=uuid4(),
    tenant_id=uuid4(),
    kind=JobKind.QUERY,
    state=JobState.RUNNING,
    stage=JobStage.SEARCHING,
    gallery_id=None,
    gallery_name=None,
    params={},
    counters=Counters(),
    result=None,
    error=None,
    warnings=(),
    version=1,
    created_at=NOW,
    started_at=None,
    finished_at=None,
    expires_at=NOW,
)


@dataclass
class Timeline:
    """A job that becomes what `changes` say at their moments; only pausing lets time pass."""

    changes: dict[float, Job] = field(default_factory=dict)
    moment: float = 0.0
    reads: int = 0
    pauses: list[float] = field(default_factory=list)

    def read(self) -> Job:
        self.reads += 1
        past = [job for moment, job in sorted(self.changes.items()) if moment <= self.moment]
        return past[-1] if past else JOB

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.moment += seconds

    def wait(self, seconds: float) -> float:
        wait_for_change(self.read, seconds, pause=self.pause, now=lambda: self.moment)
        return self.moment


def test_a_job_that_ended_is_answered_at_once() -> None:
    timeline = Timeline({0.0: replace(JOB, state=JobState.SUCCEEDED)})
    assert timeline.wait(30) == 0
    assert timeline.reads == 1


@pytest.mark.parametrize("change", [{"stage": JobStage.RERANKING}, {"state": JobState.CANCELLING}])
def test_a_change_of_state_or_stage_is_answered(change: dict[str, JobState]) -> None:
    timeline = Timeline({3.0: replace(JOB, **change)})  # type: ignore[arg-type]
    assert 3.0 <= timeline.wait(30) <= 3.0 + LONGEST_PAUSE_S


def test_progress_alone_is_not_answered() -> None:
    timeline = Timeline({3.0: replace(JOB, version=2, counters=Counters(total=5, created=3))})
    assert timeline.wait(10) == pytest.approx(10)


def test_pauses_grow_and_never_pass_the_deadline() -> None:
    timeline = Timeline()
    assert timeline.wait(2.0) == pytest.approx(2.0)
    assert timeline.pauses[0] == pytest.approx(FIRST_PAUSE_S)
    assert max(timeline.pauses) == pytest.approx(LONGEST_PAUSE_S)
    assert timeline.reads <= 20


def test_half_of_the_threads_may_wait() -> None:
    polls = LongPolls(server_threads=4)
    with polls.slot() as first, polls.slot() as second, polls.slot() as third:
        assert (first, second, third) == (True, True, False)
    with polls.slot() as again:
        assert again
