"""Webhooks from the end of a job to a receiver that checks signatures, on real Postgres and over real HTTP."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from api.schemas.jobs import Links, job_out
from cli.local.services import RunningServices
from core import jobs, results, webhooks
from core.context import Context
from core.documents import job_document
from core.models import Candidate, Counters, Delivery, DeliveryState, Job, JobKind, JobState, Principal
from core.ports import Doorbell, UnitOfWorkFactory
from storage.objects import S3ObjectStore
from storage.web.fetcher import HttpFetcher
from tests.integration.core.test_durable import Bell
from tests.integration.core.test_upkeep import MovedClock
from tests.integration.storage import builders
from tests.web import Receiver, webhook_receiver

pytestmark = pytest.mark.integration
MINUTE = timedelta(minutes=1)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with webhook_receiver() as running:
        yield running


@dataclass
class Shop:
    ctx: Context
    clock: MovedClock
    fetcher: HttpFetcher
    principal: Principal

    def finished_job(self, url: str | None, **changes: Any) -> Job:
        changes = {"kind": JobKind.IMPORT, "counters": Counters(total=2, created=2), **changes}
        made = builders.add_job(self.ctx.uow, self.principal.tenant_id, callback_url=url, **changes)
        with self.ctx.uow() as uow:
            uow.jobs.start(made.id)
            locked = uow.jobs.lock(made.id)
            assert locked is not None
            assert jobs.close(uow, locked)
            uow.commit()
        return jobs.get(self.ctx, self.principal, made.id)

    def deliver(self) -> int:
        return webhooks.deliver(self.ctx, self.fetcher)

    def delivery(self, job: Job) -> Delivery:
        found = webhooks.delivery(self.ctx, self.principal, job.id)
        assert found is not None
        return found


@pytest.fixture
def shop(
    uow_factory: UnitOfWorkFactory, services: RunningServices, object_store: S3ObjectStore, receiver: Receiver
) -> Iterator[Shop]:
    settings = services.settings.model_copy(
        update={"fetch_networks": "127.0.0.0/8", "fetch_ports": str(receiver.port), "webhook_pauses_s": (30.0, 300.0)}
    )
    clock = MovedClock()
    ctx = Context(uow_factory, object_store, cast("Doorbell", Bell()), clock, settings)
    fetcher = HttpFetcher(settings)
    yield Shop(ctx, clock, fetcher, Principal(builders.add_tenant(uow_factory), uuid4(), frozenset()))
    fetcher.close()


def test_the_end_of_a_job_reaches_its_receiver_signed(shop: Shop, receiver: Receiver) -> None:
    job = shop.finished_job(receiver.url)
    assert shop.deliver() == 1
    ((headers, body),) = receiver.came
    event = json.loads(body)
    assert (event["type"], event["data"]["id"]) == ("job.succeeded", str(job.id))
    assert event["data"]["progress"]["created"] == 2
    secret = webhooks.secret(shop.ctx, shop.principal)
    assert is_signed(secret, headers, body)
    assert not is_signed(webhooks.renew_secret(shop.ctx, shop.principal), headers, body)
    delivery = shop.delivery(job)
    assert (delivery.state, delivery.attempts, delivery.status) == (DeliveryState.DELIVERED, 1, 204)
    assert shop.deliver() == 0


def is_signed(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """A receiver's check, written from the specification."""
    stamp = headers["webhook-timestamp"]
    assert abs(int(stamp) - datetime.now(UTC).timestamp()) < 300
    key = base64.b64decode(secret.split("_", 1)[1])
    assert len(key) == 32
    signed = b".".join([headers["webhook-id"].encode(), stamp.encode(), body])
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return f"v1,{wanted}" in headers["webhook-signature"].split(" ")


def test_a_500_is_tried_again_with_the_same_id(shop: Shop, receiver: Receiver) -> None:
    receiver.statuses = [500, 503]
    job = shop.finished_job(receiver.url)
    assert shop.deliver() == 1
    waiting = shop.delivery(job)
    assert (waiting.state, waiting.attempts, waiting.status) == (DeliveryState.PENDING, 1, 500)
    assert shop.deliver() == 0, "not due yet"
    shop.clock.ahead = MINUTE
    assert shop.deliver() == 1
    shop.clock.ahead = 10 * MINUTE
    assert shop.deliver() == 1
    assert len({headers["webhook-id"] for headers, _ in receiver.came}) == 1
    assert len({headers["webhook-timestamp"] for headers, _ in receiver.came}) == 3
    assert len({body for _, body in receiver.came}) == 1
    assert shop.delivery(job).state is DeliveryState.DELIVERED


def test_after_the_last_try_it_failed(shop: Shop, receiver: Receiver) -> None:
    receiver.statuses = [500, 500, 500]
    job = shop.finished_job(receiver.url)
    for ahead in (timedelta(0), MINUTE, 10 * MINUTE, 20 * MINUTE):
        shop.clock.ahead = ahead
        shop.deliver()
    assert len(receiver.came) == 3
    failed = shop.delivery(job)
    assert (failed.state, failed.attempts, failed.error) == (DeliveryState.FAILED, 3, "The receiver answered 500.")


def test_a_killed_sender_loses_nothing(shop: Shop, receiver: Receiver) -> None:
    job = shop.finished_job(receiver.url)
    with shop.ctx.uow() as uow:  # what a process had claimed when it was killed
        assert uow.webhooks.claim(shop.clock.now(), lease=MINUTE, limit=9)
        uow.commit()
    assert shop.deliver() == 0
    shop.clock.ahead = 2 * MINUTE
    assert shop.deliver() == 1
    assert shop.delivery(job).attempts == 1


def test_a_delivery_is_claimed_once(shop: Shop, receiver: Receiver) -> None:
    made = [shop.finished_job(receiver.url) for _ in range(20)]
    threads = [threading.Thread(target=shop.deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(headers["webhook-id"] for headers, _ in receiver.came) == sorted(str(job.id) for job in made)


def test_an_address_that_is_not_public_is_refused_for_good(shop: Shop, receiver: Receiver) -> None:
    guarded = replace(shop, fetcher=HttpFetcher(shop.ctx.settings.model_copy(update={"fetch_networks": ""})))
    job = shop.finished_job(receiver.url)
    guarded.deliver()
    guarded.fetcher.close()
    assert (shop.delivery(job).state, shop.delivery(job).status, receiver.came) == (DeliveryState.FAILED, None, [])


@pytest.mark.parametrize("end", ["fail", "cancel"])
def test_every_way_to_end_files_the_delivery(shop: Shop, receiver: Receiver, end: str) -> None:
    made = builders.add_job(shop.ctx.uow, shop.principal.tenant_id, callback_url=receiver.url, units=1)
    with shop.ctx.uow() as uow:
        if end == "fail":
            jobs.fail(uow, made, code="x", detail="y")
        else:
            jobs.cancel_locked(uow, made.id)
        uow.commit()
    shop.deliver()
    ((_, body),) = receiver.came
    assert json.loads(body)["type"] == {"fail": "job.failed", "cancel": "job.canceled"}[end]


def test_a_job_without_a_callback_and_one_whose_end_was_rolled_back_file_none(shop: Shop, receiver: Receiver) -> None:
    shop.finished_job(None)
    open_job = builders.add_job(shop.ctx.uow, shop.principal.tenant_id, callback_url=receiver.url)
    with shop.ctx.uow() as uow:
        uow.jobs.set_state(open_job.id, JobState.SUCCEEDED)
    assert shop.deliver() == 0


def test_the_body_is_the_job_as_the_api_shows_it_without_signed_urls(shop: Shop, receiver: Receiver) -> None:
    gallery = builders.add_gallery(shop.ctx.uow, shop.principal.tenant_id)
    (image_id,) = builders.add_images(shop.ctx.uow, gallery, ["sku"], [{"price": 3}]).values()
    stored = {"reranked": True, "strategy": "intersection", "timings_ms": {"search": 4.0}, "explanation": {"kept": []}}
    job = shop.finished_job(
        receiver.url,
        kind=JobKind.QUERY,
        gallery_name="summer",
        params={"top_k": 5, "min_score": None},
        result=stored,
        warnings=("cut",),
    )
    with shop.ctx.uow() as uow:
        uow.candidates.replace(job.id, [Candidate(image_id, "sku", 1, 0.5, 1, 0.9, p_yes=0.8)])
        uow.commit()
    sent = job_document(shop.ctx, job)
    assert sent == shown(shop.ctx, job, sent["links"])
    assert sent["result"]["results"][0]["attributes"] == {"price": 3}
    assert sent["links"]["retry"] is None
    counters = Counters(total=2, created=1, failed=1)
    other = shop.finished_job(receiver.url, error={"code": "a", "detail": "b"}, result={"files": []}, counters=counters)
    sent = job_document(shop.ctx, other)
    assert sent == shown(shop.ctx, other, sent["links"])
    assert sent["links"]["retry"] == f"{sent['links']['self']}/retry"


def shown(ctx: Context, job: Job, links: dict[str, str]) -> dict[str, Any]:
    """The job as `GET /jobs/{id}` answers, with its presigned URLs taken out."""
    if job.kind is JobKind.QUERY:
        job = replace(job, result=results.of_query(ctx, job, signed=True))
    view = jobs.JobView(job=job, waiting_for=None, eta_seconds=None)
    body: dict[str, Any] = json.loads(
        job_out(view, Links.model_construct(None, **links)).model_dump_json(warnings=False)
    )
    for row in (body["result"] or {}).get("results", []):
        row |= {"image_url": None, "thumbnail_url": None}
    return body


def test_another_tenants_delivery_does_not_exist(shop: Shop, receiver: Receiver) -> None:
    job = shop.finished_job(receiver.url)
    other: UUID = builders.add_tenant(shop.ctx.uow, "another")
    with shop.ctx.uow() as uow:
        assert uow.webhooks.of_job(other, job.id) is None
