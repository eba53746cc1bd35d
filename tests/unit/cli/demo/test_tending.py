import threading

import pytest

from cli.demo.tending import tended


def test_poll_runs_here_while_the_work_is_under_way() -> None:
    polled = threading.Event()
    pollers: list[int] = []

    def poll() -> None:
        pollers.append(threading.get_ident())
        polled.set()

    def work() -> str:
        assert polled.wait(20)
        return "done"

    assert tended(work, poll=poll) == "done"
    assert set(pollers) == {threading.get_ident()}


def test_errors_of_the_work_pass_through() -> None:
    def work() -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        tended(work, poll=lambda: None)


def test_errors_of_the_supervisor_end_the_wait() -> None:
    release = threading.Event()

    def poll() -> None:
        release.set()
        raise ChildProcessError("died too often")

    with pytest.raises(ChildProcessError, match="too often"):
        tended(lambda: release.wait(20), poll=poll)
