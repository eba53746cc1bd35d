"""Long-polls: wait for a job's next change of state or stage without holding a connection to Postgres."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from core.jobs import TERMINAL
from core.models import Job, JobStage, JobState

MAX_WAIT_S = 30
FIRST_PAUSE_S = 0.015
"""A search takes a few of these; looking costs half a millisecond."""
LONGEST_PAUSE_S = 0.25
_BACK_OFF = 1.3


class LongPolls:
    """The server threads that may wait at once: half of them, so that the rest answer everybody else."""

    def __init__(self, *, server_threads: int) -> None:
        self._slots = threading.BoundedSemaphore(max(1, server_threads // 2))

    @contextmanager
    def slot(self) -> Iterator[bool]:
        """Yields whether this request may wait."""
        taken = self._slots.acquire(blocking=False)
        try:
            yield taken
        finally:
            if taken:
                self._slots.release()


def wait_for_change(
    read: Callable[[], Job],
    seconds: float,
    *,
    pause: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Return at the first change of (state, stage), at once when the job has ended, else after `seconds`.

    `read` must be a short transaction of its own: nothing is held between two calls. Its errors pass through.
    """
    deadline = now() + seconds
    first = read()
    pause_s = FIRST_PAUSE_S
    while first.state not in TERMINAL:
        left = deadline - now()
        if left <= 0:
            return
        pause(min(pause_s, left))
        pause_s = min(pause_s * _BACK_OFF, LONGEST_PAUSE_S)
        if _phase(read()) != _phase(first):
            return


def _phase(job: Job) -> tuple[JobState, JobStage]:
    return job.state, job.stage
