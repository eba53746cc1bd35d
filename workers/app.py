"""The Celery app of a worker process: queues, tasks, heartbeat and the orderly stop."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from celery import Celery, signals
from kombu.entity import Queue as KombuQueue

from core import building, durable, reconcile, schedules, upkeep, webhooks
from core.context import Context
from core.durable import Handler, WorkerSlot
from core.gate import Gate
from core.models import Queue, UnitKind
from core.ports import Fetcher, VectorBuilder
from core.settings import Settings
from workers.dispatch import RUN_UNIT_TASK, transport_options
from workers.heartbeat import Heartbeat, heartbeat_step

RECONCILE_TASK = "setr.reconcile"
DEADLINES_TASK = "setr.deadlines"
UPKEEP_TASK = "setr.upkeep"
TICK_LIFE_S = 15
WEBHOOKS_TASK = "setr.webhooks"
BUILD_TASK = "setr.build"
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Adapters:
    """What periodic tasks need besides the context."""

    fetcher: Fetcher
    builder: VectorBuilder


def create_celery(settings: Settings) -> Celery:
    """A Celery app with our queues and the schedule; no task is registered yet."""
    app = Celery("setr", broker=settings.redis_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        beat_schedule=_schedule(settings),
        broker_connection_retry_on_startup=True,
        broker_transport_options=transport_options(settings.redis_url),
        enable_utc=True,
        task_create_missing_queues=False,
        task_default_queue=Queue.INGEST.value,
        task_ignore_result=True,
        task_queues=[_declared(queue) for queue in Queue],
        task_serializer="json",
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
        worker_redirect_stdouts=False,
    )
    return app


def _declared(queue: Queue) -> KombuQueue:
    return KombuQueue(queue.value, routing_key=queue.value)  # type: ignore[no-untyped-call]


def _schedule(settings: Settings) -> dict[str, Any]:
    def tick(task: str, every_s: float, queue: Queue) -> dict[str, Any]:
        return {"task": task, "schedule": every_s, "options": {"queue": queue.value, "expires": TICK_LIFE_S}}

    upkeep_s = settings.upkeep_every_s

    return {
        "reconcile": tick(RECONCILE_TASK, settings.reconcile_every_s, Queue.RECONCILE),
        "deadlines": tick(DEADLINES_TASK, settings.deadlines_every_s, Queue.RECONCILE),
        "webhooks": tick(WEBHOOKS_TASK, settings.webhooks_every_s, Queue.MAINTENANCE),
        "build": tick(BUILD_TASK, settings.builds_every_s, Queue.MAINTENANCE),
        # Due at each start, because a scheduler that is restarted more often than that would never come to it.
        "upkeep": {
            "task": UPKEEP_TASK,
            "schedule": upkeep_s,
            "options": {"queue": Queue.MAINTENANCE.value, "expires": upkeep_s},
            "last_run_at": LONG_AGO,
        },
    }


def register(
    app: Celery, ctx: Context, handlers: Mapping[UnitKind, Handler], heartbeat: Heartbeat, adapters: Adapters
) -> None:
    """Add the tasks, the heartbeat and the stop flag to a worker's app."""
    stopping = threading.Event()
    gate = Gate()

    def ask_to_stop(**_: object) -> None:
        stopping.set()

    signals.worker_shutting_down.connect(ask_to_stop, weak=False)
    app.steps["consumer"].add(heartbeat_step(heartbeat))

    def run_unit(queue: str) -> None:
        """Run one due unit of the queue; the message carries nothing else."""
        slot = WorkerSlot(heartbeat.name, (Queue(queue),), stopping.is_set, heartbeat.beat_if_due, gate)
        durable.run_one(ctx, handlers, slot)

    def run_reconcile() -> None:
        """Repair what crashes and lost messages left behind, and start what galleries have planned for now."""
        reconcile.reconcile(ctx)
        schedules.run_due(ctx)

    def run_deadlines() -> None:
        """End queries whose re-rank budget is over."""
        reconcile.enforce_deadlines(ctx)

    def run_upkeep() -> None:
        """Delete what is past its retention."""
        upkeep.run(ctx, stopping=stopping.is_set)

    def run_webhooks() -> None:
        """Send the webhooks that are due."""
        webhooks.deliver(ctx, adapters.fetcher, stopping=stopping.is_set)

    def run_build() -> None:
        """Build the indexes that are due."""
        building.build_due(ctx, adapters.builder, stopping=stopping.is_set)

    tasks: dict[str, Callable[..., None]] = {
        RUN_UNIT_TASK: run_unit,
        RECONCILE_TASK: run_reconcile,
        DEADLINES_TASK: run_deadlines,
        UPKEEP_TASK: run_upkeep,
        WEBHOOKS_TASK: _by_one_thread(run_webhooks),
        BUILD_TASK: _by_one_thread(run_build),
    }
    for name, task in tasks.items():
        app.task(name=name, ignore_result=True)(task)


def _by_one_thread(run: Callable[[], None]) -> Callable[[], None]:
    """What takes its time must not take all threads of a process: while one runs it, others pass it over."""
    running = threading.Lock()

    def run_alone() -> None:
        if running.acquire(blocking=False):
            try:
                run()
            finally:
                running.release()

    return run_alone
