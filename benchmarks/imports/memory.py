"""Peak memory of every process of a running stack, by the name that the supervisor knows it by."""

import threading
from pathlib import Path
from typing import Self

from cli.demo.memory import process_tree
from cli.local.supervisor import Supervisor

_PERIOD_S = 2.0
_KIB_A_MB = 1024


class MemoryWatch:
    """Samples while it is open. `rss_mb` is of a child's largest process, `own_mb` the sum over all of its processes.

    `own_mb` counts anonymous pages: what Postgres keeps in its shared buffers, or a file mapped by many, is not in it.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self.rss_mb: dict[str, float] = {}
        self.own_mb: dict[str, float] = {}
        self._supervisor = supervisor
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            for name, pid in self._supervisor.pids().items():
                samples = [_rollup(each) for each in process_tree(pid)]
                rss_mb = max(sample["Rss"] for sample in samples)
                own_mb = sum(sample["Anonymous"] for sample in samples)
                self.rss_mb[name] = max(self.rss_mb.get(name, 0.0), rss_mb)
                self.own_mb[name] = max(self.own_mb.get(name, 0.0), own_mb)
            if self._stop.wait(_PERIOD_S):
                return


def _rollup(pid: int) -> dict[str, float]:
    """Kinds of memory of a process, in MB; zero when it is gone."""
    found = {"Rss": 0.0, "Anonymous": 0.0}
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        kind, _, amount = line.partition(":")
        if kind in found:
            found[kind] = int(amount.split()[0]) / _KIB_A_MB
    return found
