"""The supervisor, with real but tiny children."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cli.local.child import Child
from cli.local.errors import ChildError
from cli.local.supervisor import RestartPolicy, Supervisor, sigterm_as_interrupt

FOREVER = "import signal; signal.pause()"
# Marks itself ready only when it can already be asked to stop, and notes its name in the file `stopped` when it is.
NOTES_ITS_STOP = """
import pathlib, signal, sys
def stop(*_):
    with open("stopped", "a") as file:
        file.write("{name}\\n")
    sys.exit()
signal.signal(signal.SIGTERM, stop)
pathlib.Path("{name}.ready").touch()
signal.pause()
"""
MakeChild = Callable[..., Child]
WaitUntil = Callable[[Callable[[], bool]], None]
AT_ONCE = RestartPolicy(first_delay_s=0.0)


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def supervise(tmp_path: Path, reports: list[str]) -> Callable[..., Supervisor]:
    def build(*children: Child, policy: RestartPolicy = AT_ONCE) -> Supervisor:
        return Supervisor(children, log_dir=tmp_path / "logs", policy=policy, report=reports.append)

    return build


def test_each_child_starts_once_the_one_before_is_ready(
    tmp_path: Path, make_child: MakeChild, supervise: Callable[..., Supervisor]
) -> None:
    first = make_child(
        "first",
        "import pathlib, signal; pathlib.Path('first.ready').touch(); signal.pause()",
        ready=(tmp_path / "first.ready").exists,
    )
    second = make_child(
        "second",
        "import os, signal; open('seen', 'w').write(str(os.path.exists('first.ready'))); signal.pause()",
        ready=lambda: (tmp_path / "seen").exists() and (tmp_path / "seen").read_text() != "",
    )
    with supervise(first, second):
        assert (tmp_path / "seen").read_text() == "True"


# Ends only once its neighbour was asked to stop as well.
WAITS_FOR_A_NEIGHBOUR = """
import pathlib, signal, sys, time
def stop(*_):
    pathlib.Path("{name}.asked").touch()
    while not pathlib.Path("{neighbour}.asked").exists():
        time.sleep(0.01)
    sys.exit()
signal.signal(signal.SIGTERM, stop)
pathlib.Path("{name}.ready").touch()
signal.pause()
"""


def test_neighbours_of_a_group_are_asked_to_stop_together(
    tmp_path: Path, make_child: MakeChild, supervise: Callable[..., Supervisor], reports: list[str]
) -> None:
    children = [
        replace(
            make_child(name, WAITS_FOR_A_NEIGHBOUR.format(name=name, neighbour=neighbour)),
            ready=(tmp_path / f"{name}.ready").exists,
            group="workers",
        )
        for name, neighbour in (("a", "b"), ("b", "a"))
    ]
    with supervise(*children):
        pass
    assert (tmp_path / "a.asked").exists()
    assert reports == []


def test_children_stop_in_reverse_order(
    tmp_path: Path, make_child: MakeChild, supervise: Callable[..., Supervisor]
) -> None:
    children = [
        make_child(name, NOTES_ITS_STOP.format(name=name), ready=(tmp_path / f"{name}.ready").exists)
        for name in ("database", "broker", "worker")
    ]
    with supervise(*children[:2]) as supervisor:
        supervisor.add(children[2])
    assert (tmp_path / "stopped").read_text().split() == ["worker", "broker", "database"]


def test_a_child_that_is_never_ready_is_reported_with_its_log_and_all_are_stopped(
    tmp_path: Path, make_child: MakeChild, supervise: Callable[..., Supervisor]
) -> None:
    good = make_child("good", NOTES_ITS_STOP.format(name="good"), ready=(tmp_path / "good.ready").exists)
    bad = make_child(
        "bad",
        "import signal; print('no disk left', flush=True); signal.pause()",
        ready=lambda: False,
        ready_timeout_s=0.5,
    )
    with pytest.raises(ChildError, match=r"(?s)bad was not ready within 0\.5 s.*no disk left") as caught:
        supervise(good, bad).start()
    assert caught.value.name == "bad"
    assert (tmp_path / "stopped").read_text().split() == ["good"]


def test_a_killed_child_comes_back(
    make_child: MakeChild, supervise: Callable[..., Supervisor], wait_until: WaitUntil, reports: list[str]
) -> None:
    with supervise(make_child("worker", FOREVER)) as supervisor:
        before = supervisor.pid("worker")
        supervisor.kill("worker")

        def is_back() -> bool:
            supervisor.poll()
            return supervisor.pid("worker") != before

        wait_until(is_back)
    assert reports == ["worker died (signal SIGKILL); restarting in 0 s."]


def test_the_delay_before_a_restart_doubles(
    make_child: MakeChild, supervise: Callable[..., Supervisor], reports: list[str]
) -> None:
    policy = RestartPolicy(max_deaths=5, first_delay_s=0.01, longest_delay_s=0.03)
    supervisor = supervise(make_child("worker", "raise SystemExit(3)"), policy=policy)

    with supervisor, pytest.raises(ChildError):
        supervisor.run_forever()
    assert [report.split("restarting in ")[1] for report in reports] == ["0.01 s.", "0.02 s.", "0.03 s.", "0.03 s."]


def test_five_deaths_of_one_child_end_everything(
    tmp_path: Path, make_child: MakeChild, supervise: Callable[..., Supervisor]
) -> None:
    good = make_child("good", NOTES_ITS_STOP.format(name="good"), ready=(tmp_path / "good.ready").exists)
    bad = make_child("bad", "print('bad configuration'); raise SystemExit(7)")
    supervisor = supervise(good, bad)
    supervisor.start()
    with pytest.raises(ChildError, match=r"(?s)bad died 5 times within 60 s \(last: exit code 7\).*bad configuration"):
        supervisor.run_forever()
    assert (tmp_path / "stopped").read_text().split() == ["good"]
    assert supervisor.log_path("bad").read_text().count("bad configuration") == 5


def test_deaths_long_ago_do_not_count(
    make_child: MakeChild, supervise: Callable[..., Supervisor], wait_until: WaitUntil, reports: list[str]
) -> None:
    policy = RestartPolicy(max_deaths=2, window_s=0.0, first_delay_s=0.0)
    with supervise(make_child("worker", "raise SystemExit(1)"), policy=policy) as supervisor:

        def has_died_four_times() -> bool:
            supervisor.poll()
            return len(reports) == 4

        wait_until(has_died_four_times)
        assert reports == ["worker died (exit code 1); restarting in 0 s."] * 4


def test_a_child_that_ignores_the_stop_signal_is_killed_after_its_grace(
    tmp_path: Path, make_child: MakeChild, supervise: Callable[..., Supervisor], reports: list[str]
) -> None:
    stubborn = make_child(
        "stubborn",
        "import pathlib, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); pathlib.Path('deaf').touch()\n"
        "while True: signal.pause()",
        ready=(tmp_path / "deaf").exists,
        stop_grace_s=0.1,
    )
    with supervise(stubborn) as supervisor:
        pid = supervisor.pid("stubborn")
    assert reports == ["stubborn did not stop within 0.1 s and is killed."]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_child_may_name_its_own_stop_signal(
    tmp_path: Path, make_child: MakeChild, supervise: Callable[..., Supervisor]
) -> None:
    source = NOTES_ITS_STOP.format(name="database").replace("SIGTERM", "SIGUSR1")
    child = make_child("database", source, ready=(tmp_path / "database.ready").exists, stop_signal=signal.SIGUSR1)
    with supervise(child):
        assert not (tmp_path / "stopped").exists()
    assert (tmp_path / "stopped").read_text().split() == ["database"]


def test_what_a_dead_child_left_behind_in_its_session_is_ended_before_its_restart(
    tmp_path: Path, make_child: MakeChild, supervise: Callable[..., Supervisor], wait_until: WaitUntil
) -> None:
    # The grandchild holds the write end of the fifo open; we read its end of file when it is gone.
    os.mkfifo(tmp_path / "alive")
    reader = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    source = """
import os, pathlib, signal
if os.path.exists("forked"):
    signal.pause()
writer = os.open("alive", os.O_WRONLY)
if os.fork() == 0:
    signal.pause()
os.close(writer)
pathlib.Path("forked").touch()
signal.pause()
"""

    def all_writers_gone() -> bool:
        try:
            return os.read(reader, 1) == b""
        except BlockingIOError:
            return False

    with supervise(make_child("forker", source, ready=(tmp_path / "forked").exists)) as supervisor:
        assert not all_writers_gone()
        supervisor.kill("forker")
        supervisor.resume("forker")
        wait_until(all_writers_gone)
    os.close(reader)


def test_a_halted_child_stays_down_until_it_is_resumed(
    make_child: MakeChild, supervise: Callable[..., Supervisor]
) -> None:
    with supervise(make_child("store", FOREVER), make_child("other", FOREVER)) as supervisor:
        other = supervisor.pid("other")
        supervisor.halt("store")
        supervisor.poll()
        with pytest.raises(LookupError, match="store does not run"):
            supervisor.pid("store")
        supervisor.resume("store")
        assert supervisor.pid("store") > 0
        assert supervisor.pid("other") == other


def test_each_child_has_a_session_of_its_own_and_only_the_given_environment(
    tmp_path: Path, make_child: MakeChild, supervise: Callable[..., Supervisor]
) -> None:
    child = make_child(
        "plain",
        "import os, signal; open('new', 'w').write(' '.join(os.environ)); os.rename('new', 'env'); signal.pause()",
        env={"ONLY": "this"},
        ready=(tmp_path / "env").exists,
    )
    with supervise(child) as supervisor:
        assert os.getsid(supervisor.pid("plain")) == supervisor.pid("plain")
    assert set((tmp_path / "env").read_text().split()) <= {"ONLY", "LC_CTYPE"}  # Python itself may add the latter


def test_an_overgrown_log_is_set_aside_at_start(
    tmp_path: Path, make_child: MakeChild, supervise: Callable[..., Supervisor]
) -> None:
    (tmp_path / "logs").mkdir()
    with (tmp_path / "logs" / "talker.log").open("wb") as log:
        log.truncate(11 * 1024 * 1024)
    with supervise(make_child("talker", FOREVER)) as supervisor:
        assert supervisor.log_path("talker").stat().st_size == 0
    assert (tmp_path / "logs" / "talker.log.1").stat().st_size == 11 * 1024 * 1024


def test_a_name_is_given_once(make_child: MakeChild, supervise: Callable[..., Supervisor]) -> None:
    child = make_child("api", FOREVER)
    with supervise(child) as supervisor, pytest.raises(ValueError, match="'api' already"):
        supervisor.add(replace(child))


def test_sigterm_interrupts_like_control_c() -> None:
    with pytest.raises(KeyboardInterrupt), sigterm_as_interrupt():
        signal.raise_signal(signal.SIGTERM)
