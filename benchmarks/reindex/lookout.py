"""Looks at the truth at a fixed pace, in a thread of its own: nothing else that the benchmark waits for delays one."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from types import TracebackType
from typing import Self

from benchmarks.reindex.truth import Seen


class Lookout:
    """Calls `look` every `every_s` seconds from enter to exit; what `look` raises is raised at exit.

    `looks` are what was seen, and `took_s` how long each took, in seconds. A look that takes longer delays the next.
    """

    def __init__(self, look: Callable[[], Seen], every_s: float) -> None:
        self.looks: list[Seen] = []
        self.took_s: list[float] = []
        self._look = look
        self._every_s = every_s
        self._stop = Event()
        self._pool = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        self._running = self._pool.submit(self._run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True)
        self._running.result()

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            began_s = time.monotonic()
            self.looks.append(self._look())
            self.took_s.append(time.monotonic() - began_s)
            due_s = max(due_s + self._every_s, began_s)
