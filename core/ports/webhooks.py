"""Webhook secrets and deliveries in SQL. `Jobs.set_state` files a delivery in the transaction that ends its job."""

from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from core.models import Delivery


class Webhooks(Protocol):
    """Deliveries of finished jobs, and the secrets that sign them."""

    def secret(self, tenant_id: UUID) -> str | None:
        """The tenant's secret; None before its first use."""
        ...

    def set_secret(self, tenant_id: UUID, secret: str, *, replace: bool) -> str:
        """Store a secret; unless `replace`, only where there is none. Returns the one that holds."""
        ...

    def claim(self, now: datetime, *, lease: timedelta, limit: int) -> tuple[Delivery, ...]:
        """Deliveries that are due, the most overdue first; nobody else gets them during the lease. SKIP LOCKED."""
        ...

    def record(self, delivery: Delivery) -> None:
        """Write what became of a claimed delivery, unless it ended meanwhile."""
        ...

    def of_job(self, tenant_id: UUID, job_id: UUID) -> Delivery | None:
        """The delivery of the tenant's job; None when it is not finished, or asked for none."""
        ...
