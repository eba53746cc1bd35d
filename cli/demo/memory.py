"""Memory of a process tree as the sum of PSS, which counts a page shared by n processes 1/n in each."""

import os
import threading
from collections import defaultdict
from pathlib import Path
from typing import Self

_PERIOD_S = 2.0
_KIB = 1024


class MemoryMeter:
    """Samples the tree below this process while it is open; `peak_bytes` is 0 where the system has no /proc."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self.processes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-meter", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            pids = process_tree(os.getpid())
            total = sum(pss_bytes(pid) for pid in pids)
            if total > self.peak_bytes:
                self.peak_bytes, self.processes = total, len(pids)
            if self._stop.wait(_PERIOD_S):
                return


def process_tree(root: int, *, proc: Path = Path("/proc")) -> list[int]:
    """Ids of a process and all that descend from it."""
    children: dict[int, list[int]] = defaultdict(list)
    for folder in proc.glob("[0-9]*"):
        parent = _parent(folder)
        if parent is not None:
            children[parent].append(int(folder.name))
    found = [root]
    for pid in found:  # grows while we walk: breadth first
        found.extend(children[pid])
    return found


def pss_bytes(pid: int, *, proc: Path = Path("/proc")) -> int:
    """PSS of a process; 0 when it is gone or not ours to look at."""
    try:
        rollup = (proc / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * _KIB for line in rollup.splitlines() if line.startswith("Pss:"))


def _parent(folder: Path) -> int | None:
    try:
        # The name, in parentheses, may itself contain spaces and parentheses.
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
