"""Long-polls, with jobs in a dictionary."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import UUID, uuid4

import pytest

from api.long_poll import LongPolls
from core.models import Counters, Job, JobKind, JobStage, JobState, Phase
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
DONE = replace(JOB, state=JobState.SUCCEEDED)
LONG_S = 60.0
"""Nobody waits that long in these tests unless something is broken."""


@dataclass
class Jobs:
    """Looks at jobs and remembers what was asked; `looked` is released at each look."""

    rows: dict[UUID, Job] = field(default_factory=dict)
    asked: list[frozenset[UUID]] = field(default_factory=list)
    looked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    error: Exception | None = None

    def phases(self, job_ids: Sequence[UUID]) -> Mapping[UUID, Phase]:
        if self.error is not None:
            raise self.error
        self.asked.append(frozenset(job_ids))
        found = {job_id: self.rows[job_id].phase for job_id in job_ids if job_id in self.rows}
        self.looked.release()
        return found

    def looks(self, times: int) -> None:
        for _ in range(times):
            assert self.looked.acquire(timeout=LONG_S)

    def sees(self, job_ids: set[UUID]) -> None:
        while job_ids not in self.asked:
            self.looks(1)


def _same(job: Job) -> Job:
    return job


@contextmanager
def waiting(polls: LongPolls, *jobs: Job) -> Iterator[list[threading.Thread]]:
    threads = [threading.Thread(target=polls.wait, args=(partial(_same, job), LONG_S), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    yield threads
    for thread in threads:
        thread.join(LONG_S / 2)
        assert not thread.is_alive()


def test_a_job_that_ended_is_not_waited_for() -> None:
    jobs = Jobs()
    LongPolls(jobs.phases, server_threads=4).wait(lambda: DONE, LONG_S)
    assert jobs.asked == []


@pytest.mark.parametrize(
    "change", [{"stage": JobStage.RERANKING}, {"state": JobState.CANCELLING}, {"state": JobState.SUCCEEDED}]
)
def test_a_change_of_state_or_stage_is_answered(change: dict[str, JobState]) -> None:
    jobs = Jobs({JOB.id: JOB})
    with waiting(LongPolls(jobs.phases, server_threads=4), JOB):
        jobs.looks(2)
        jobs.rows[JOB.id] = replace(JOB, **change)  # type: ignore[arg-type]


def test_progress_alone_is_not_answered() -> None:
    jobs = Jobs({JOB.id: replace(JOB, version=2, counters=Counters(total=5, created=3))})
    with waiting(LongPolls(jobs.phases, server_threads=4), JOB) as (thread,):
        jobs.looks(3)
        assert thread.is_alive()
        jobs.rows[JOB.id] = DONE


def test_a_wait_ends_when_its_time_is_over() -> None:
    jobs = Jobs({JOB.id: JOB})
    LongPolls(jobs.phases, server_threads=4).wait(lambda: JOB, 0.05)
    assert set(jobs.asked) <= {frozenset({JOB.id})}


def test_one_look_sees_all_that_wait() -> None:
    many = [replace(JOB, id=uuid4()) for _ in range(8)]
    jobs = Jobs({job.id: job for job in many})
    with waiting(LongPolls(jobs.phases, server_threads=16), *many):
        jobs.sees({job.id for job in many})
        jobs.rows |= {job.id: replace(DONE, id=job.id) for job in many}


def test_half_of_the_threads_may_wait_and_are_free_again() -> None:
    first, second, third = many = [replace(JOB, id=uuid4()) for _ in range(3)]
    jobs = Jobs()
    polls = LongPolls(jobs.phases, server_threads=4)
    for _ in range(3):
        jobs.rows = {job.id: job for job in many}
        jobs.asked.clear()
        with waiting(polls, first, second):
            jobs.sees({first.id, second.id})
            polls.wait(lambda: pytest.fail("read beyond the cap"), 0.2)
            jobs.rows = {}
        assert not any(third.id in ids for ids in jobs.asked)


def test_a_job_that_is_gone_is_answered() -> None:
    jobs = Jobs({JOB.id: JOB})
    with waiting(LongPolls(jobs.phases, server_threads=4), JOB):
        jobs.looks(1)
        del jobs.rows[JOB.id]


def test_without_a_database_waits_end_and_later_ones_work() -> None:
    jobs = Jobs({JOB.id: JOB}, error=ConnectionError("gone"))
    polls = LongPolls(jobs.phases, server_threads=4)
    with waiting(polls, JOB):
        pass
    jobs.error = None
    with waiting(polls, JOB):
        jobs.looks(1)
        jobs.rows[JOB.id] = DONE


def test_looks_at_a_quiet_job_grow_rarer(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that only pauses move, a minute costs far fewer looks than ticks."""
    moment_s = 0.0

    def pause(seconds: float) -> None:
        nonlocal moment_s
        moment_s += seconds
        if moment_s > 60:
            jobs.rows[JOB.id] = DONE

    monkeypatch.setattr("api.long_poll.time.sleep", pause)
    monkeypatch.setattr("api.long_poll.time.monotonic", lambda: moment_s)
    jobs = Jobs({JOB.id: JOB})
    with waiting(LongPolls(jobs.phases, server_threads=4), JOB):
        pass
    assert 200 <= len(jobs.asked) <= 260
