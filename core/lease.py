"""Keeping the lease of a claimed unit while its batches make progress."""

import os
import threading
import time
from datetime import timedelta
from types import TracebackType
from typing import Self

import structlog

from core.context import Context
from core.errors import UnavailableError
from core.models import ClaimedUnit

log = structlog.get_logger()

STUCK_EXIT_CODE = 70


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
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

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
