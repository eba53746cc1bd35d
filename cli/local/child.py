"""What the supervisor knows of a child process."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


def _always() -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Child:
    """One long-running process, kept alive by the supervisor.

    `env` is the child's whole environment: nothing is inherited. `ready` is asked repeatedly, must answer within about
    a second, and returns False until the child serves. `user` (a name; only root may set it) is whom the child runs as.
    `stop_signal` asks for an orderly end, which may take `stop_grace_s` seconds before SIGKILL follows. Neighbours of
    the same `group` do not need each other: they are asked to stop together.
    `orphan_signal` is what the kernel sends when the supervisor itself is gone; it must end the child without fail.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    ready: Callable[[], bool] = _always
    ready_timeout_s: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_grace_s: float = 20.0
    group: str = ""
    orphan_signal: signal.Signals = signal.SIGKILL
    user: str | None = None
