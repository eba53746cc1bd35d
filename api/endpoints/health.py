"""Whether the process lives, and whether the service can do its work."""

from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus

from apiflask import APIBlueprint
from flask import Response
from pydantic import Field

from api.errors import problem
from api.replies import json_reply
from api.runtime import context
from api.schemas.common import Reply
from core.context import Context
from core.errors import UnavailableError
from core.models import Backlog, Queue
from core.stalls import stalled_queues

bp = APIBlueprint("health", __name__, tag="Operations")

NEEDED_QUEUES = (Queue.INGEST, Queue.EMBED, Queue.QUERY, Queue.RERANK, Queue.MAINTENANCE, Queue.RECONCILE)


class Check(Reply):
    """One thing that the service needs."""

    name: str = Field(examples=["postgres", "queue:embed"])
    ok: bool
    detail: str


class Health(Reply):
    """The process answers."""

    status: str = "ok"


class Readiness(Reply):
    """Everything that the service needs is there."""

    status: str = "ready"
    checks: list[Check]


@bp.get("/healthz")
@bp.output(Health)
def healthz() -> Response:
    """Whether this process answers."""
    return json_reply(Health())


@bp.get("/readyz")
@bp.output(Readiness)
@bp.doc(responses={503: "Something is missing; `checks` says what"})
def readyz() -> Response:
    """Whether Postgres, the broker and the bucket answer, and workers live and take from every queue."""
    checks = [*_services(context()), *_queues(context())]
    missing = [check.name for check in checks if not check.ok]
    if not missing:
        return json_reply(Readiness(checks=checks))
    detail = f"Not ready: {', '.join(missing)}."
    listed = [check.model_dump() for check in checks]
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", "Not ready", detail, checks=listed)


def _services(ctx: Context) -> list[Check]:
    def postgres() -> None:
        with ctx.uow() as uow:
            uow.check()

    return [
        _check("postgres", postgres),
        _check("broker", ctx.doorbell.check),
        _check("bucket", ctx.objects.check),
    ]


def _check(name: str, probe: Callable[[], None]) -> Check:
    try:
        probe()
    except UnavailableError as error:
        return Check(name=name, ok=False, detail=error.detail)
    return Check(name=name, ok=True, detail="answers")


def _queues(ctx: Context) -> list[Check]:
    alive_within = timedelta(seconds=ctx.settings.worker_dead_after_s)
    try:
        with ctx.uow(read_only=True) as uow:
            alive = uow.workers.consumers(alive_within=alive_within)
        stalled = stalled_queues(ctx)
    except UnavailableError as error:
        return [Check(name=f"queue:{queue}", ok=False, detail=error.detail) for queue in NEEDED_QUEUES]
    return [_queue(queue, alive[queue].count, stalled.get(queue)) for queue in NEEDED_QUEUES]


def _queue(queue: Queue, consumers: int, stalled: Backlog | None) -> Check:
    name, taking = f"queue:{queue}", f"{consumers} live workers take from it"
    if stalled is None or consumers == 0:
        return Check(name=name, ok=consumers > 0, detail=taking)
    waited = f"its oldest unit has waited for {stalled.oldest_due_s:.0f} s, and none is running"
    return Check(name=name, ok=False, detail=f"{taking}, but {waited}")
