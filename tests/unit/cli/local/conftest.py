"""Tiny children for the supervisor."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.local.child import Child


@pytest.fixture
def make_child(tmp_path: Path) -> Callable[..., Child]:
    """Children that run Python source text in the test's folder, with the standard library alone."""

    def make(name: str, source: str, **options: Any) -> Child:
        argv = (sys.executable, "-I", "-S", "-c", source)
        return Child(name=name, argv=argv, **{"cwd": tmp_path, "env": {}, "ready_timeout_s": 20.0, **options})

    return make


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Wait for a condition; fail after 20 s."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "the condition never came true"
            time.sleep(0.01)

    return wait
