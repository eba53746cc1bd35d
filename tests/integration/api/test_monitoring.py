"""/readyz and /metrics on real tables: a worker that lives but takes nothing."""

from datetime import UTC, datetime, timedelta

import pytest
from apiflask import APIFlask
from prometheus_client.parser import text_string_to_metric_families

from core.context import Context
from core.models import Queue, WorkerBeat
from tests.integration.storage.builders import LEASE, job, unit

pytestmark = pytest.mark.integration


def failing(app: APIFlask) -> dict[str, str]:
    response = app.test_client().get("/readyz")
    checks = (response.get_json() or {})["checks"]
    return {check["name"]: check["detail"] for check in checks if not check["ok"]}


def gauges(app: APIFlask, queue: Queue) -> dict[str, float]:
    families = text_string_to_metric_families(app.test_client().get("/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return {sample.name: sample.value for sample in samples if sample.labels.get("queue") == queue.value}


def test_a_stalled_queue(ctx: Context, app: APIFlask) -> None:
    with ctx.uow() as uow:
        uow.workers.beat(WorkerBeat(name="w", queues=tuple(Queue), device="cpu", pid=1, host="h"))
        made = job(uow.api_keys.add_tenant("shop"))
        uow.jobs.add(made)
        moments = [datetime.now(UTC) - timedelta(seconds=waited_s) for waited_s in (600, 300)]
        uow.units.add([unit(made, queue=Queue.EMBED, not_before=moment) for moment in moments])
        uow.commit()
    (name, detail), *others = failing(app).items()
    assert (name, others) == ("queue:embed", [])
    assert detail.startswith("1 live workers take from it, but its oldest unit has waited for 60")
    found = gauges(app, Queue.EMBED)
    assert found.pop("setr_queue_oldest_due_seconds") >= 600
    assert found == {
        "setr_queue_due_units": 2,
        "setr_queue_deferred_units": 0,
        "setr_queue_running_units": 0,
        "setr_queue_consumers": 1,
    }
    with ctx.uow() as uow:
        assert uow.units.claim([Queue.EMBED], worker="w", lease=LEASE) is not None
        uow.commit()
    assert failing(app) == {}
    assert gauges(app, Queue.EMBED)["setr_queue_running_units"] == 1
