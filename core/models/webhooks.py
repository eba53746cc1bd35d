"""Deliveries of webhooks."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class DeliveryState(StrEnum):
    """State of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """The news of a job's end on its way to the job's `callback_url`.

    `attempts` have been made, `status` and `error` are the latest one's; the next one is due at `due_at`.
    """

    job_id: UUID
    tenant_id: UUID
    url: str
    state: DeliveryState
    attempts: int
    due_at: datetime
    status: int | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None
