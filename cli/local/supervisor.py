"""Keeps children alive: starts them in order, restarts the dead, stops them in reverse order."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from cli.local.child import Child
from cli.local.errors import ChildError

_LAUNCHER = Path(__file__).with_name("launcher.py")
_LOG_LIMIT_BYTES = 10 * 1024 * 1024
_TAIL_LINES = 20
_WAIT_STEP_S = 0.02
_LOOP_STEP_S = 0.2


@dataclass(frozen=True, kw_only=True)
class RestartPolicy:
    """A dead child comes back after `first_delay_s`, doubled with each recent death up to `longest_delay_s`.

    `max_deaths` of one child within `window_s` seconds end everything.
    """

    max_deaths: int = 5
    window_s: float = 60.0
    first_delay_s: float = 0.5
    longest_delay_s: float = 8.0


@dataclass
class _Slot:
    """A child and what became of it."""

    child: Child
    process: subprocess.Popen[bytes] | None = None
    deaths: deque[float] = field(default_factory=deque)  # times on the monotonic clock, oldest first
    restart_at: float | None = None  # on the monotonic clock; None: no restart is planned


def report_to_stderr(message: str) -> None:
    """Print one line for the person at the terminal."""
    print(message, file=sys.stderr, flush=True)


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Within this, SIGTERM raises KeyboardInterrupt as Ctrl-C does. Main thread only (ValueError elsewhere)."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


class Supervisor:
    """Runs children, each in a session of its own, with its output in `log_dir`/<name>.log.

    As a context manager it starts them on entry and stops them on exit. There is no thread in it: deaths are noticed in
    `run_forever`, or whenever `poll` is called. The children die with the *thread* that started them, however it ends
    (Linux), so start them from the main thread.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        log_dir: Path,
        policy: RestartPolicy | None = None,
        report: Callable[[str], None] = report_to_stderr,
    ) -> None:
        self._children = tuple(children)
        self._log_dir = log_dir
        self._policy = policy or RestartPolicy()
        self._report = report
        self._slots: dict[str, _Slot] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the children in order, each once the one before it is ready. On failure all are stopped again.

        Raises ChildError when one is not ready in time or keeps dying.
        """
        for child in self._children:
            self.add(child)

    def add(self, child: Child) -> None:
        """Start one more child, after (and stopped before) those there are, and wait until it is ready.

        Raises ChildError like `start`, likewise after stopping everything; ValueError for a name in use.
        """
        if child.name in self._slots:
            raise ValueError(f"There is a child named {child.name!r} already.")
        slot = self._slots[child.name] = _Slot(child)
        try:
            self._spawn(slot)
            self._wait_ready(slot)
        except BaseException:
            self.stop()
            raise

    def run_forever(self) -> None:
        """Keep the children alive until KeyboardInterrupt, then stop them all and return.

        (One that comes earlier, while children start, passes through: suppress it around the whole.)
        Raises ChildError, likewise after stopping everything, when a child dies too often.
        """
        try:
            while True:
                self.poll()
                time.sleep(_LOOP_STEP_S)
        except KeyboardInterrupt:
            self._report("Stopping.")
        finally:
            self.stop()

    def poll(self) -> None:
        """One turn of the loop: notice deaths, restart what is due. Never waits. Raises ChildError."""
        for slot in self._slots.values():
            if slot.process is not None and _has_exited(slot.process):
                self._bury(slot)
            if slot.restart_at is not None and time.monotonic() >= slot.restart_at:
                self._spawn(slot)

    def stop(self) -> None:
        """Stop all children, the last first; those that outlast their grace are killed. Harmless to repeat."""
        while self._slots:
            names = self._last_group()
            for name in names:
                self._ask_to_stop(self._slots[name])
            for name in names:
                self._wait_stopped(self._slots[name])
                del self._slots[name]

    def halt(self, name: str) -> None:
        """Stop one child in an orderly way and keep it stopped until `resume`."""
        self._ask_to_stop(self._slots[name])
        self._wait_stopped(self._slots[name])

    def _last_group(self) -> list[str]:
        """The last child, and those before it as long as they share its group."""
        backwards = list(reversed(self._slots))
        group = self._slots[backwards[0]].child.group
        if not group:
            return backwards[:1]
        return list(itertools.takewhile(lambda name: self._slots[name].child.group == group, backwards))

    def _ask_to_stop(self, slot: _Slot) -> None:
        slot.restart_at = None
        if slot.process is not None:
            os.kill(slot.process.pid, slot.child.stop_signal)

    def _wait_stopped(self, slot: _Slot) -> None:
        if slot.process is None:
            return
        if not _wait_exit(slot.process, slot.child.stop_grace_s):
            self._report(f"{slot.child.name} did not stop within {slot.child.stop_grace_s:g} s and is killed.")
        _reap(slot.process)
        slot.process = None

    def resume(self, name: str) -> None:
        """Start a halted or dead child now and wait until it is ready; one that runs is only waited for.

        Raises ChildError when it is not ready in time or keeps dying; the other children are left as they are.
        """
        slot = self._slots[name]
        if slot.process is not None and _has_exited(slot.process):
            self._bury(slot)
        if slot.process is None:
            self._spawn(slot)
        self._wait_ready(slot)

    def kill(self, name: str) -> None:
        """SIGKILL one child and wait until it is dead; `poll`, `run_forever` or `resume` bring it back."""
        process = self._process(name)
        process.kill()
        _wait_exit(process, None)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a child and all that it started. Raises LookupError when it does not run just now."""
        os.killpg(self._process(name).pid, number)

    def pid(self, name: str) -> int:
        """Process id of a child. Raises LookupError when it does not run just now."""
        return self._process(name).pid

    def pids(self) -> dict[str, int]:
        """Process ids of the children that run just now, by name."""
        return {name: slot.process.pid for name, slot in self._slots.items() if slot.process is not None}

    def log_path(self, name: str) -> Path:
        """Where the output of a child goes."""
        return self._log_dir / f"{name}.log"

    def _process(self, name: str) -> subprocess.Popen[bytes]:
        process = self._slots[name].process
        if process is None:
            raise LookupError(f"{name} does not run just now.")
        return process

    def _spawn(self, slot: _Slot) -> None:
        child = slot.child
        slot.restart_at = None
        prefix = (sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), str(int(child.orphan_signal)))
        with self._open_log(child.name) as log:
            slot.process = subprocess.Popen(  # noqa: S603 - argv comes from our own code
                (*prefix, child.user or "", *child.argv),
                env=dict(child.env),
                cwd=child.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _open_log(self, name: str) -> BinaryIO:
        self._log_dir.mkdir(parents=True, exist_ok=True)
        path = self.log_path(name)
        if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
            path.replace(path.with_suffix(".log.1"))
        path.touch(mode=0o600)
        return path.open("ab")

    def _wait_ready(self, slot: _Slot) -> None:
        child = slot.child
        deadline = time.monotonic() + child.ready_timeout_s
        while True:
            self.poll()
            # Alive and ready: a stranger on the child's port may answer while the child itself cannot even start.
            if slot.process is not None and child.ready() and not _has_exited(slot.process):
                return
            if time.monotonic() >= deadline:
                problem = f"{child.name} was not ready within {child.ready_timeout_s:g} s."
                raise ChildError(child.name, f"{problem} {self._tail(child.name)}")
            time.sleep(_WAIT_STEP_S)

    def _bury(self, slot: _Slot) -> None:
        """Reap a dead child and plan its restart, or give up on everything."""
        if slot.process is None:
            return
        name, ending, now = slot.child.name, _reap(slot.process), time.monotonic()
        slot.process = None
        slot.deaths.append(now)
        while slot.deaths[0] < now - self._policy.window_s:
            slot.deaths.popleft()
        count = len(slot.deaths)
        if count >= self._policy.max_deaths:
            raise ChildError(
                name,
                f"{name} died {count} times within {self._policy.window_s:g} s (last: {ending}). {self._tail(name)}",
            )
        delay = min(self._policy.first_delay_s * 2 ** (count - 1), self._policy.longest_delay_s)
        slot.restart_at = now + delay
        self._report(f"{name} died ({ending}); restarting in {delay:g} s.")

    def _tail(self, name: str) -> str:
        path = self.log_path(name)
        lines = path.read_text(errors="replace").splitlines()[-_TAIL_LINES:] if path.exists() else []
        return "\n".join([f"The end of its log, {path}:", *lines])


def _has_exited(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process has ended; it stays a zombie, so that its process group's number is not reused yet."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _wait_exit(process: subprocess.Popen[bytes], timeout_s: float | None) -> bool:
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while not _has_exited(process):
        if deadline is not None and time.monotonic() >= deadline:
            return False
        time.sleep(_WAIT_STEP_S)
    return True


def _reap(process: subprocess.Popen[bytes]) -> str:
    """End what is left of the child's session, collect the child, and say how it ended."""
    with suppress(ProcessLookupError, PermissionError):  # nobody left, or only processes that changed their user
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
