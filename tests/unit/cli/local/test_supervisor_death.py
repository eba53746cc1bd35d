"""What becomes of the children when the supervisor ends: it runs in a process of its own here."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# The child holds the write end of a fifo for as long as it lives. Unlike a process id, that tells a zombie from a live
# process. A shell, not Python, as the interpreter may lie where another user cannot enter.
SUPERVISOR = """
import signal, sys
from contextlib import suppress
from pathlib import Path
from cli.local.child import Child
from cli.local.supervisor import Supervisor, sigterm_as_interrupt

# Whoever runs the tests in the background of a shell makes all their processes ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
folder, user = Path(sys.argv[1]), sys.argv[2] or None
child = Child(
    name="holder",
    argv=("/bin/sh", "-c", "exec 9>alive; : >ready; exec sleep 600"),
    env={"PATH": "/usr/bin:/bin"},
    cwd=folder,
    ready=(folder / "ready").exists,
    ready_timeout_s=20,
    user=user,
)
with suppress(KeyboardInterrupt), sigterm_as_interrupt(), Supervisor([child], log_dir=folder / "logs") as supervisor:
    print("started", flush=True)
    supervisor.run_forever()
"""
Start = Callable[[str], subprocess.Popen[str]]
Gone = Callable[[], bool]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def run(user: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", SUPERVISOR, str(tmp_path), user]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own source text
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def gone(tmp_path: Path) -> Iterator[Gone]:
    """Whether the child has ended."""
    os.mkfifo(tmp_path / "alive")
    (tmp_path / "alive").chmod(0o666)
    reader = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)

    def check() -> bool:
        try:
            return os.read(reader, 1) == b""
        except BlockingIOError:
            return False

    yield check
    os.close(reader)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_children_die_with_a_killed_supervisor(
    start: Start, gone: Gone, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    supervisor = start("")
    assert not gone()
    supervisor.kill()
    wait_until(gone)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root gives its children another user")
def test_children_of_another_user_die_with_a_killed_supervisor_too(
    tmp_path: Path, start: Start, gone: Gone, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    tmp_path.chmod(0o777)
    supervisor = start("nobody")
    assert not gone()
    assert (tmp_path / "ready").owner() == "nobody"
    supervisor.kill()
    wait_until(gone)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_end_stops_the_children_and_is_no_error(start: Start, gone: Gone, ending: signal.Signals) -> None:
    supervisor = start("")
    assert not gone()
    supervisor.send_signal(ending)
    assert supervisor.wait(timeout=20) == 0
    assert gone()
