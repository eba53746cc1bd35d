"""Webhooks: what became of a job's, and the secret that signs the tenant's."""

from uuid import UUID

from apiflask import APIBlueprint
from flask import Response

from api.auth import principal, protected
from api.idempotency import idempotent
from api.replies import json_reply
from api.runtime import context
from api.schemas.webhooks import DeliveryList, SecretOut, delivery_out
from core import webhooks
from core.models import Scope

bp = APIBlueprint("webhooks", __name__, tag="Webhooks")
# A secret belongs into no cache on its way.
_SECRET_HEADERS = {"Cache-Control": "no-store"}


@bp.get("/jobs/<uuid:job_id>/deliveries")
@protected(Scope.READ, Scope.QUERY)
@bp.output(DeliveryList)
def list_deliveries(job_id: UUID) -> Response:
    """What became of the job's webhook. Empty until the job has ended, and without a `callback_url`."""
    found = webhooks.delivery(context(), principal(), job_id)
    return json_reply(DeliveryList(items=[] if found is None else [delivery_out(found)]))


@bp.get("/webhooks/secret")
@protected(Scope.ADMIN)
@bp.output(SecretOut)
def get_secret() -> Response:
    """Get the secret that signs your webhooks (Standard Webhooks)."""
    return json_reply(SecretOut(secret=webhooks.secret(context(), principal())), headers=_SECRET_HEADERS)


@bp.post("/webhooks/secret")
@protected(Scope.ADMIN)
@bp.output(SecretOut)
@idempotent
def renew_secret() -> Response:
    """Replace the secret. The old one signs nothing any more, not even what is sent again."""
    return json_reply(SecretOut(secret=webhooks.renew_secret(context(), principal())), headers=_SECRET_HEADERS)
