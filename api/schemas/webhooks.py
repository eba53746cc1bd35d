"""Bodies of webhooks' deliveries and secrets."""

from datetime import datetime

from pydantic import Field

from api.schemas.common import Reply
from core.models import Delivery, DeliveryState


class DeliveryOut(Reply):
    """A webhook on its way. Its `webhook-id` is the job's id, in every try."""

    url: str
    state: DeliveryState
    attempts: int
    status: int | None = Field(description="What the receiver answered to the latest try.")
    error: str | None = Field(description="Why the latest try failed.")
    due_at: datetime | None = Field(description="When the next try is due; null when there is none.")
    created_at: datetime
    finished_at: datetime | None


class DeliveryList(Reply):
    """The deliveries of a job: at most one."""

    items: list[DeliveryOut]


class SecretOut(Reply):
    """A signing secret: `whsec_` and 32 bytes in base64."""

    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


def delivery_out(delivery: Delivery) -> DeliveryOut:
    """A delivery as JSON."""
    return DeliveryOut(
        url=delivery.url,
        state=delivery.state,
        attempts=delivery.attempts,
        status=delivery.status,
        error=delivery.error,
        due_at=delivery.due_at if delivery.state is DeliveryState.PENDING else None,
        created_at=delivery.created_at,
        finished_at=delivery.finished_at,
    )
