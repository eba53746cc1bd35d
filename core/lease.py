"""Keeping the lease of a claimed unit while its batches make progress."""

import io
import os
import threading
import time
from contextvars import ContextVar
from datetime import timedelta
from types import TracebackType
from typing import BinaryIO, Self

import structlog

from core.context import Context
from core.errors import UnavailableError
from core.models import ClaimedUnit

log = structlog.get_logger()

STUCK_EXIT_CODE = 70

_current: ContextVar["Lease | None"] = ContextVar("lease", default=None)


class Lease:
    """Renews a unit's lease from a thread, but only while the current batch is younger than its limit.

    A batch older than `settings.batch_limit_s` hangs in code that no exception can reach (a decoder, a driver), so the
    process ends; its supervisor starts another, and the unit's lease runs out.
    """

    def __init__(self, ctx: Context, unit: ClaimedUnit) -> None:
        self._ctx = ctx
        self._unit = unit
        self._done = threading.Event()
        self._batch_began_s: float | None = time.monotonic()
        self._thread = threading.Thread(target=self._renew_until_done, name=f"lease-{unit.id}", daemon=True)

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        _current.reset(self._token)

    def batch_waits(self) -> None:
        """No batch runs: it waits for its turn, and its clock stands still."""
        self._batch_began_s = None

    def batch_begins(self) -> None:
        """Start the clock of a new batch."""
        self._batch_began_s = time.monotonic()

    def _renew_until_done(self) -> None:
        lease = timedelta(seconds=self._ctx.settings.lease_s)
        while not self._done.wait(self._ctx.settings.lease_s / 4):
            began_s = self._batch_began_s
            if began_s is not None and time.monotonic() - began_s > self._ctx.settings.batch_limit_s:
                log.critical("worker.stuck", unit_id=str(self._unit.id), limit_s=self._ctx.settings.batch_limit_s)
                os._exit(STUCK_EXIT_CODE)
            try:
                with self._ctx.uow() as uow:
                    held = uow.units.renew(self._unit.id, self._unit.lease_token, lease=lease)
                    uow.commit()
            except UnavailableError:
                continue
            if not held:
                return


def still_moving() -> None:
    """Start the clock of the running batch again: for work that may outlast its limit, but visibly moves.

    Without effect outside of a unit.
    """
    lease = _current.get()
    if lease is not None:
        lease.batch_begins()


class Watched(io.RawIOBase):
    """A seekable stream each of whose reads counts as a sign of life of the running batch. Closes the stream."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As the stream does it."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """As the stream does it."""
        return self._stream.tell()

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """As the stream does it."""
        still_moving()
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the stream too."""
        self._stream.close()
        super().close()
