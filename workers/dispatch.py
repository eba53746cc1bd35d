"""The doorbell: the only place that sends Celery messages, and the only workers module that the API may import."""

from typing import Any

import structlog
from celery import Celery
from kombu.exceptions import ChannelError, OperationalError
from kombu.exceptions import ConnectionError as AmqpConnectionError

from core.errors import UnavailableError
from core.models import Queue

log = structlog.get_logger()

RUN_UNIT_TASK = "setr.run_unit"
MESSAGE_LIFE_S = 600
PUBLISH_POLICY = {"max_retries": 1, "interval_start": 0.0, "interval_step": 0.2, "interval_max": 0.2}
TRANSPORT_OPTIONS: dict[str, dict[str, Any]] = {
    "redis": {"socket_timeout": 5.0, "socket_connect_timeout": 2.0, "socket_keepalive": True, "max_retries": 1},
}
BROKER_AWAY = (OperationalError, AmqpConnectionError, OSError)


def transport_options(broker_url: str) -> dict[str, Any]:
    """Options of the broker connection; Redis needs time-outs of its own."""
    return TRANSPORT_OPTIONS["redis"] if broker_url.startswith("redis") else {}


class CeleryDoorbell:
    """Implements `core.ports.Doorbell` with Celery messages that name a queue, never a unit."""

    def __init__(self, broker_url: str) -> None:
        self._app = Celery("setr", broker=broker_url, set_as_current=False)
        self._app.conf.update(
            broker_transport_options=transport_options(broker_url),
            broker_connection_timeout=2.0,
            task_serializer="json",
            accept_content=["json"],
            task_ignore_result=True,
            task_publish_retry_policy=PUBLISH_POLICY,
        )

    def ring(self, queue: Queue, *, times: int = 1) -> bool:
        """Send `times` messages. A broker that is away is logged; the reconciler rings again."""
        try:
            with self._app.producer_or_acquire() as producer:
                for _ in range(times):
                    self._app.send_task(
                        RUN_UNIT_TASK, args=[queue.value], queue=queue.value, producer=producer, expires=MESSAGE_LIFE_S
                    )
        except BROKER_AWAY as error:
            log.warning("doorbell.unheard", queue=queue, error=type(error).__name__)
            return False
        return True

    def depth(self, queue: Queue) -> int | None:
        """Messages waiting; an undeclared queue has none."""
        try:
            with self._app.connection_or_acquire() as connection:
                return int(connection.default_channel.queue_declare(queue.value, passive=True).message_count)
        except ChannelError:
            return 0
        except BROKER_AWAY as error:
            log.warning("doorbell.unheard", queue=queue, error=type(error).__name__)
            return None

    def check(self) -> None:
        """UnavailableError unless the broker accepts a connection."""
        try:
            with self._app.connection_for_read() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0.0, timeout=2.0)
        except BROKER_AWAY as error:
            raise UnavailableError(
                "The message broker does not answer; accepted work waits and is not lost."
            ) from error
