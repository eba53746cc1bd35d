"""Long-polls: wait for a job's next change of state or stage without holding a connection to Postgres.

One thread looks on behalf of all that wait, at all their jobs by one statement, so many cost hardly more than one.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from core.jobs import TERMINAL
from core.models import Job, Phase

MAX_WAIT_S = 30
TICK_S = 0.015
"""Between two looks: a search takes a few of these, and a look costs half a millisecond."""
LONGEST_PAUSE_S = 0.25
_BACK_OFF = 1.3

_log = structlog.get_logger(__name__)

Look = Callable[[Sequence[UUID]], Mapping[UUID, Phase]]
"""The phases of jobs, without those that are gone; a short transaction of its own."""


@dataclass(eq=False)
class _Waiter:
    job_id: UUID
    known: Phase
    due_s: float
    pause_s: float = TICK_S
    answered: threading.Event = field(default_factory=threading.Event)


class LongPolls:
    """Those that wait: at most half of the server's threads, so that the rest answer everybody else."""

    def __init__(self, look: Look, *, server_threads: int) -> None:
        self._look = look
        self._free = threading.BoundedSemaphore(max(1, server_threads // 2))
        self._waiters: set[_Waiter] = set()
        self._changed = threading.Condition()
        self._watcher: threading.Thread | None = None

    def wait(self, read: Callable[[], Job], seconds: float) -> None:
        """Return when the job is in another state or stage than `read` finds; at once when it has ended.

        At once, and unread, when too many wait. Errors of `read` pass through.
        """
        if not self._free.acquire(blocking=False):
            return
        try:
            job = read()
            if job.state not in TERMINAL:
                self._wait(_Waiter(job.id, job.phase, due_s=time.monotonic() + TICK_S), seconds)
        finally:
            self._free.release()

    def _wait(self, waiter: _Waiter, seconds: float) -> None:
        try:
            self._enter(waiter)
            waiter.answered.wait(seconds)
        finally:
            self._leave(waiter)

    def _enter(self, waiter: _Waiter) -> None:
        with self._changed:
            self._waiters.add(waiter)
            self._changed.notify()
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="long-polls", daemon=True)
                self._watcher.start()

    def _leave(self, waiter: _Waiter) -> None:
        with self._changed:
            self._waiters.discard(waiter)

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiters)
            time.sleep(TICK_S)
            now_s = time.monotonic()
            with self._changed:
                waiters = tuple(self._waiters)
            if any(waiter.due_s <= now_s for waiter in waiters):
                self._look_for(waiters, now_s)

    def _look_for(self, waiters: Sequence[_Waiter], now_s: float) -> None:
        try:
            phases = self._look(list({waiter.job_id for waiter in waiters}))
        except Exception:  # noqa: BLE001 - whoever waits reads the job once more, and answers with what that raises
            _log.exception("long_polls_failed", jobs=len(waiters))
            phases = {}
        for waiter in waiters:
            if phases.get(waiter.job_id) != waiter.known:
                self._leave(waiter)
                waiter.answered.set()
            elif waiter.due_s <= now_s:
                waiter.pause_s = min(_BACK_OFF * waiter.pause_s, LONGEST_PAUSE_S)
                waiter.due_s = now_s + waiter.pause_s
