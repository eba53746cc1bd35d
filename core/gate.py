"""Batches of one process run side by side, except one under suspicion, which runs alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Shared by the units of a worker process.

    A unit is suspected after a death of its worker. Were it not alone, its next death would be laid at the door of the
    units beside it as well, and after three of them an innocent item would count as poison.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = False
        self._suspects = 0

    @contextmanager
    def pass_through(self, *, suspect: bool) -> Iterator[None]:
        """Wait until the batch may run. Suspects go first; otherwise they might wait for ever."""
        self._enter(suspect=suspect)
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._alone = False
                self._changed.notify_all()

    def _enter(self, *, suspect: bool) -> None:
        with self._changed:
            if suspect:
                self._suspects += 1
                self._changed.wait_for(lambda: self._inside == 0)
                self._suspects -= 1
            else:
                self._changed.wait_for(lambda: not self._alone and self._suspects == 0)
            self._inside += 1
            self._alone = suspect
