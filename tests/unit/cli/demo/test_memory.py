import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.demo.memory import MemoryMeter, process_tree, pss_bytes

NAMES_WITH_TRAPS = {1: ("init", 0), 10: ("a) S (b", 1), 11: ("worker", 10), 12: ("other", 1), 13: ("leaf", 11)}


def test_tree_is_followed_through_names_with_parentheses(tmp_path: Path) -> None:
    for pid, (name, parent) in NAMES_WITH_TRAPS.items():
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 1 1 0")
    assert sorted(process_tree(10, proc=tmp_path)) == [10, 11, 13]


def test_pss_is_read_in_kib_and_missing_processes_count_nothing(tmp_path: Path) -> None:
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "smaps_rollup").write_text("0-1 ---p [rollup]\nRss: 90 kB\nPss:  12 kB\nPss_Anon: 4 kB\n")
    assert pss_bytes(5, proc=tmp_path) == 12 * 1024
    assert pss_bytes(6, proc=tmp_path) == 0


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")
def test_meter_counts_this_process_and_its_children() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in process_tree(os.getpid())
        with MemoryMeter() as meter:
            pass
        child.kill()
    assert meter.peak_bytes > 1024 * 1024
    assert meter.processes >= 2
