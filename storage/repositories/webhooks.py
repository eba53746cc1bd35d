"""Webhook secrets and deliveries."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, text, update

from core.models import Delivery, DeliveryState
from storage.tables import DeliveryRow, JobRow, TenantRow
from storage.transaction import Transaction

_CLAIM = text("""
    WITH due AS MATERIALIZED (
        SELECT job_id AS due_job_id FROM webhook_deliveries
        WHERE state = 'pending' AND due_at <= :now ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE webhook_deliveries SET due_at = :until FROM due WHERE job_id = due.due_job_id
        RETURNING webhook_deliveries.*
    )
    SELECT job_id, tenant_id, callback_url AS url, claimed.state, attempts, due_at, status, claimed.error,
        claimed.created_at, claimed.finished_at
    FROM claimed JOIN jobs ON jobs.id = claimed.job_id
""")


class SqlWebhooks:
    """Implements `core.ports.Webhooks`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def secret(self, tenant_id: UUID) -> str | None:
        """The tenant's secret; None before its first use."""
        statement = select(TenantRow.webhook_secret).where(TenantRow.id == tenant_id)
        found: str | None = self._transaction.execute(statement).scalar_one_or_none()
        return found

    def set_secret(self, tenant_id: UUID, secret: str, *, replace: bool) -> str:
        """Store a secret; unless `replace`, only where there is none. Returns the one that holds."""
        kept = secret if replace else func.coalesce(TenantRow.webhook_secret, secret)
        statement = update(TenantRow).where(TenantRow.id == tenant_id).values(webhook_secret=kept)
        held: str = self._transaction.execute(statement.returning(TenantRow.webhook_secret)).scalar_one()
        return held

    def claim(self, now: datetime, *, lease: timedelta, limit: int) -> tuple[Delivery, ...]:
        """Deliveries that are due, the most overdue first; nobody else gets them during the lease. SKIP LOCKED."""
        rows = self._transaction.execute(_CLAIM, {"now": now, "until": now + lease, "limit": limit})
        return tuple(_delivery(row) for row in rows)

    def record(self, delivery: Delivery) -> None:
        """Write what became of a claimed delivery, unless it ended meanwhile."""
        statement = update(DeliveryRow).where(
            DeliveryRow.job_id == delivery.job_id, DeliveryRow.state == DeliveryState.PENDING.value
        )
        values = {
            "state": delivery.state.value,
            "attempts": delivery.attempts,
            "due_at": delivery.due_at,
            "status": delivery.status,
            "error": delivery.error,
            "finished_at": delivery.finished_at,
        }
        self._transaction.execute(statement.values(values))

    def of_job(self, tenant_id: UUID, job_id: UUID) -> Delivery | None:
        """The delivery of the tenant's job; None when it is not finished, or asked for none."""
        statement = (
            select(
                JobRow.tenant_id,
                JobRow.callback_url.label("url"),
                DeliveryRow.job_id,
                DeliveryRow.state,
                DeliveryRow.attempts,
                DeliveryRow.due_at,
                DeliveryRow.status,
                DeliveryRow.error,
                DeliveryRow.created_at,
                DeliveryRow.finished_at,
            )
            .join_from(DeliveryRow, JobRow, JobRow.id == DeliveryRow.job_id)
            .where(JobRow.id == job_id, JobRow.tenant_id == tenant_id)
        )
        row = self._transaction.execute(statement).one_or_none()
        return None if row is None else _delivery(row)


def _delivery(row: Row[*tuple[Any, ...]]) -> Delivery:
    return Delivery(
        job_id=row.job_id,
        tenant_id=row.tenant_id,
        url=row.url,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        due_at=row.due_at,
        status=row.status,
        error=row.error,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )
