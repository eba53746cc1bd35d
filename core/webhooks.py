"""Webhooks: the news of a job's end, signed by the rules of Standard Webhooks and sent until somebody takes it.

Source: standard-webhooks/standard-webhooks, specification 1.0.0. See docs/adr/0018.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from uuid import UUID

import structlog

from core import jobs
from core.context import Context
from core.documents import job_document
from core.errors import ItemError, TemporaryItemError, UnavailableError
from core.models import Delivery, DeliveryState, Job, Principal
from core.ports import Fetcher, UnitOfWork

log = structlog.get_logger()

SECRET_PREFIX = "whsec_"  # noqa: S105 - how every such secret begins
SECRET_BYTES = 32
AT_ONCE = 8
MAX_ROUNDS = 20
BUSY_DELAY = timedelta(seconds=5)
MAX_ERROR = 500


def secret(ctx: Context, principal: Principal) -> str:
    """The secret that signs the tenant's webhooks, made at its first use."""
    with ctx.uow() as uow:
        held = _secret(uow, principal.tenant_id)
        uow.commit()
    return held


def renew_secret(ctx: Context, principal: Principal) -> str:
    """A new secret; what is sent from now on, repeated tries included, is signed with it alone."""
    with ctx.uow() as uow:
        held = uow.webhooks.set_secret(principal.tenant_id, _new_secret(), replace=True)
        uow.commit()
    return held


def delivery(ctx: Context, principal: Principal, job_id: UUID) -> Delivery | None:
    """What became of the job's webhook. NotFoundError when the job is not the tenant's."""
    with ctx.uow() as uow:
        jobs.find(uow, principal, job_id)
        return uow.webhooks.of_job(principal.tenant_id, job_id)


def _secret(uow: UnitOfWork, tenant_id: UUID) -> str:
    return uow.webhooks.secret(tenant_id) or uow.webhooks.set_secret(tenant_id, _new_secret(), replace=False)


def _new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def deliver(ctx: Context, fetcher: Fetcher, *, stopping: Callable[[], bool] = lambda: False) -> int:
    """Send what is due, a few at once. Returns how many were tried.

    A claim is a lease: what a killed process held is due again when that is over, so a receiver may get a message
    twice, under the same `webhook-id`.
    """
    # Twice what a fetch may take: it waits for its host's turn at most as long as it then talks.
    lease = timedelta(seconds=4 * ctx.settings.fetch_timeout_s)
    tried = 0
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook") as pool:
        for _ in range(MAX_ROUNDS):
            if stopping():
                break
            with ctx.uow() as uow:
                claimed = uow.webhooks.claim(ctx.clock.now(), lease=lease, limit=AT_ONCE)
                uow.commit()
            list(pool.map(lambda one: _try(ctx, fetcher, one), claimed))
            tried += len(claimed)
            if len(claimed) < AT_ONCE:
                break
    return tried


def _try(ctx: Context, fetcher: Fetcher, claimed: Delivery) -> None:
    try:
        message = _message(ctx, claimed)
        if message is None:
            return
        now = ctx.clock.now()
        after = _after(claimed, _answer(fetcher, message), now=now, pauses_s=ctx.settings.webhook_pauses_s)
        with ctx.uow() as uow:
            uow.webhooks.record(after)
            uow.commit()
    except UnavailableError as error:
        log.warning("webhook.left_to_its_lease", job_id=str(claimed.job_id), reason=error.detail)
        return
    log.info("webhook.tried", job_id=str(after.job_id), state=after.state, status=after.status, attempts=after.attempts)


@dataclass(frozen=True, slots=True)
class Message:
    """A webhook ready to be sent."""

    url: str
    body: bytes
    headers: dict[str, str]


def _message(ctx: Context, claimed: Delivery) -> Message | None:
    """None when the job expired meanwhile; its delivery went with it."""
    with ctx.uow() as uow:
        job = uow.jobs.get(claimed.tenant_id, claimed.job_id)
        key = _secret(uow, claimed.tenant_id)
        uow.commit()
    if job is None:
        return None
    body = _body(ctx, job)
    message_id, timestamp = str(job.id), int(ctx.clock.now().timestamp())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(key, message_id, timestamp, body),
    }
    return Message(claimed.url, body, headers)


def _body(ctx: Context, job: Job) -> bytes:
    document = job_document(ctx, job)
    event = {"type": f"job.{job.state}", "timestamp": document["finished_at"], "data": document}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a try: the receiver's status, or why there is none. `final`: no use in trying again."""

    status: int | None = None
    error: str | None = None
    final: bool = False
    attempted: bool = True
    retry_after_s: float | None = None

    @property
    def taken(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and HTTPStatus(200) <= self.status < HTTPStatus(300)


def _answer(fetcher: Fetcher, message: Message) -> Answer:
    try:
        reply = fetcher.post(message.url, message.body, headers=message.headers)
    except TemporaryItemError as error:
        return Answer(error=error.detail, attempted=error.attempted, retry_after_s=error.retry_after_s)
    except ItemError as error:
        return Answer(error=error.detail, final=error.item_code in {"bad_url", "url_refused"})
    if reply.status == HTTPStatus.GONE:
        return Answer(status=reply.status, error="The receiver wants no more of this (410).", final=True)
    error_text = None if HTTPStatus(200) <= reply.status < HTTPStatus(300) else f"The receiver answered {reply.status}."
    return Answer(status=reply.status, error=error_text, retry_after_s=reply.retry_after_s)


def _after(before: Delivery, answer: Answer, *, now: datetime, pauses_s: tuple[float, ...]) -> Delivery:
    """The delivery after a try. With n pauses there are n + 1 tries; a receiver may ask for a longer pause."""
    if not answer.attempted:
        return replace(before, due_at=now + BUSY_DELAY)
    told = replace(
        before,
        attempts=before.attempts + 1,
        status=answer.status,
        error=answer.error and answer.error[:MAX_ERROR],
    )
    if answer.taken:
        return replace(told, state=DeliveryState.DELIVERED, finished_at=now)
    if answer.final or before.attempts >= len(pauses_s):
        return replace(told, state=DeliveryState.FAILED, finished_at=now)
    pause_s = max(pauses_s[before.attempts], min(answer.retry_after_s or 0.0, max(pauses_s)))
    return replace(told, due_at=now + timedelta(seconds=pause_s))
