"""Manners towards one host: so many requests at once, and a rest after it failed repeatedly."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from core.errors import TemporaryItemError

FAILURES_BEFORE_REST = 8
REST_S = 20.0
_KEPT_HOSTS = 1000


@dataclass(slots=True)
class _Host:
    slots: threading.BoundedSemaphore
    failures: int = 0
    resting_until_s: float = 0.0
    users: int = field(default=0)


class Hosts:
    """Slots of hosts, for one process. Thread-safe."""

    def __init__(self, *, per_host: int) -> None:
        self._per_host = per_host
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}

    @contextmanager
    def slot(self, name: str, *, patience_s: float) -> Iterator[None]:
        """Hold one of the host's slots.

        TemporaryItemError (not attempted) when none becomes free in time, or the host rests because nothing that was
        asked of it lately was answered: a dead server then costs a moment for each of its pictures, not a timeout.
        """
        with self._using(name) as host:
            self._check_rest(name, host)
            if not host.slots.acquire(timeout=patience_s):
                raise TemporaryItemError(
                    "url_unavailable", f"The host {name} is slow, and other downloads were first.", attempted=False
                )
            try:
                self._check_rest(name, host)
                yield
            finally:
                host.slots.release()

    def answered(self, name: str) -> None:
        """The host gave an answer, whichever."""
        with self._lock:
            if name in self._hosts:
                self._hosts[name].failures = 0

    def failed(self, name: str) -> None:
        """The host gave none."""
        with self._lock:
            host = self._hosts.get(name)
            if host is not None:
                host.failures += 1
                if host.failures >= FAILURES_BEFORE_REST:
                    host.resting_until_s = time.monotonic() + REST_S

    def _check_rest(self, name: str, host: _Host) -> None:
        rest_s = host.resting_until_s - time.monotonic()
        if rest_s > 0:
            raise TemporaryItemError(
                "url_unavailable", f"The host {name} did not answer repeatedly.", retry_after_s=rest_s
            )

    @contextmanager
    def _using(self, name: str) -> Iterator[_Host]:
        with self._lock:
            if len(self._hosts) >= _KEPT_HOSTS:
                self._hosts = {known: host for known, host in self._hosts.items() if host.users}
            host = self._hosts.setdefault(name, _Host(threading.BoundedSemaphore(self._per_host)))
            host.users += 1
        try:
            yield host
        finally:
            with self._lock:
                host.users -= 1
