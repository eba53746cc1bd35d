"""Signs of life, written from the loop that consumes messages: a loop that hangs falls silent."""

import threading
import time
from typing import Any

import structlog
from celery import bootsteps

from core.context import Context
from core.errors import UnavailableError
from core.models import WorkerBeat

log = structlog.get_logger()


class Heartbeat:
    """Writes this worker's row, at most once per `settings.heartbeat_s`."""

    def __init__(self, ctx: Context, beat: WorkerBeat) -> None:
        self._ctx = ctx
        self._beat = beat
        self._lock = threading.Lock()
        self._last_s = 0.0

    @property
    def name(self) -> str:
        """The worker's name."""
        return self._beat.name

    @property
    def period_s(self) -> float:
        """Seconds between beats."""
        return self._ctx.settings.heartbeat_s

    def beat_if_due(self) -> None:
        """Write the row unless that was done within the period. A database that is away is only logged."""
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._last_s < 0.9 * self.period_s:
                return
            self._last_s = now_s
        try:
            with self._ctx.uow() as uow:
                uow.workers.beat(self._beat)
                uow.commit()
        except UnavailableError as error:
            log.warning("heartbeat.unwritten", reason=error.detail)

    def stop(self) -> None:
        """Remove the row: a worker that stopped in order is not missed."""
        try:
            with self._ctx.uow() as uow:
                uow.workers.remove(self.name)
                uow.commit()
        except UnavailableError as error:
            log.warning("heartbeat.unwritten", reason=error.detail)


def heartbeat_step(heartbeat: Heartbeat) -> type[Any]:
    """A consumer bootstep that beats from the consumer's own timer."""

    class HeartbeatStep(bootsteps.StartStopStep):  # type: ignore[misc]
        """Starts and stops with the consumer."""

        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            """Beat now, then periodically."""
            heartbeat.beat_if_due()
            consumer.timer.call_repeatedly(heartbeat.period_s, heartbeat.beat_if_due)

        def shutdown(self, consumer: Any) -> None:
            """The worker ends."""
            del consumer
            heartbeat.stop()

    return HeartbeatStep
