"""Units of work and their leases. All times are the database's, so that workers' clocks need not agree."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, func, text
from sqlalchemy.dialects.postgresql import insert

from core.errors import LeaseLostError
from core.models import DEFERRED, GIVES_WAY, ClaimedUnit, NewUnit, Queue, UnitKind, UnitState
from storage.tables import UnitRow
from storage.transaction import Transaction

# The states are written out: the planner uses a partial index only where it sees the index's own condition.

# Tenants with pending units by hopping over the index from tenant to tenant, however many units each of them has.
_LANES = text("""
    WITH RECURSIVE lane (queue, tenant_id) AS (
        SELECT asked.queue, head.tenant_id
        FROM unnest(CAST(:queues AS text[])) AS asked (queue), LATERAL (
            SELECT tenant_id FROM work_units
            WHERE state = 'pending' AND queue = asked.queue
            ORDER BY tenant_id LIMIT 1) AS head
        UNION ALL
        SELECT lane.queue, head.tenant_id
        FROM lane, LATERAL (
            SELECT tenant_id FROM work_units
            WHERE state = 'pending' AND queue = lane.queue AND tenant_id > lane.tenant_id
            ORDER BY tenant_id LIMIT 1) AS head
    )
    SELECT lane.queue, lane.tenant_id
    FROM lane
    CROSS JOIN LATERAL (
        SELECT id FROM work_units
        WHERE state = 'pending' AND queue = lane.queue AND tenant_id = lane.tenant_id
            AND not_before <= clock_timestamp()
        ORDER BY id LIMIT 1) AS oldest
    LEFT JOIN (
        SELECT tenant_id, count(*) AS units FROM work_units WHERE state = 'running' GROUP BY tenant_id
    ) AS running ON running.tenant_id = lane.tenant_id
    ORDER BY coalesce(running.units, 0), oldest.id
""")

_CLAIM = text("""
    UPDATE work_units SET
        state = 'running', lease_token = gen_random_uuid(), lease_until = clock_timestamp() + :lease, worker = :worker
    WHERE id = (
        SELECT id FROM work_units
        WHERE state = 'pending' AND queue = :queue AND tenant_id = :tenant_id AND not_before <= clock_timestamp()
            AND kind <> ALL (CAST(:left_out AS text[]))
        ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id, tenant_id, job_id, kind, queue, size, payload, cursor, attempts, batch_limit, lease_token
""")

_GIVES_WAY = sorted(GIVES_WAY)
_SHARED_WITH_BATCHES = frozenset({Queue.QUERY, Queue.RERANK})

_ADD = insert(UnitRow).values(not_before=func.coalesce(bindparam("due"), func.now()))

_LOCK = text("""
    SELECT id FROM work_units WHERE id = :unit_id AND lease_token = :token AND state = 'running' FOR UPDATE
""")

_ADVANCE = text("""
    UPDATE work_units SET cursor = :cursor, attempts = 0, batch_limit = :batch_limit WHERE id = :unit_id
""")

_FINISH = text("""
    UPDATE work_units SET
        state = :state, finished_at = now(), lease_token = NULL, lease_until = NULL, worker = NULL
    WHERE id = :unit_id
""")

_RELEASE = text("""
    UPDATE work_units SET
        state = 'pending', not_before = clock_timestamp() + :delay,
        lease_token = NULL, lease_until = NULL, worker = NULL
    WHERE id = :unit_id AND lease_token = :token
""")

_STRIKE = text("""
    UPDATE work_units SET
        state = 'pending', not_before = clock_timestamp() + :delay, attempts = attempts + 1, batch_limit = 1,
        lease_token = NULL, lease_until = NULL, worker = NULL
    WHERE id = :unit_id AND lease_token = :token
""")

_RENEW = text("""
    UPDATE work_units SET lease_until = clock_timestamp() + :lease WHERE id = :unit_id AND lease_token = :token
""")

# A row locked by somebody is one whose batch is being written, so its worker is alive.
_FREE_EXPIRED = text("""
    UPDATE work_units SET
        state = 'pending', attempts = attempts + 1, batch_limit = 1,
        lease_token = NULL, lease_until = NULL, worker = NULL
    WHERE id IN (
        SELECT id FROM work_units
        WHERE state = 'running' AND lease_until < clock_timestamp() FOR UPDATE SKIP LOCKED)
    RETURNING id
""")

_DUE = text("""
    SELECT queue, count(*) FROM work_units
    WHERE state = 'pending' AND not_before <= clock_timestamp() GROUP BY queue
""")

_OPEN_KINDS = text("""
    SELECT kind FROM unnest(CAST(:kinds AS text[])) AS asked (kind)
    WHERE EXISTS (
        SELECT FROM work_units
        WHERE job_id = :job_id AND work_units.kind = asked.kind AND state IN ('pending', 'running'))
""")

_ITEMS_TO_COME = text("""
    SELECT coalesce(sum(size - cursor), 0) FROM work_units
    WHERE state IN ('pending', 'running') AND kind = ANY (CAST(:kinds AS text[]))
        AND job_id IN (SELECT id FROM jobs WHERE gallery_id = :gallery_id)
""")

_CANCEL_PENDING = text("""
    UPDATE work_units SET state = 'canceled', finished_at = now()
    WHERE id IN (
        SELECT id FROM work_units WHERE job_id = :job_id AND state = 'pending' FOR UPDATE SKIP LOCKED)
""")

_WAKE_DEFERRED = text("""
    UPDATE work_units SET not_before = clock_timestamp()
    WHERE id = (
        SELECT id FROM work_units
        WHERE job_id = :job_id AND state = 'pending' AND not_before = :deferred ORDER BY id LIMIT 1)
    AND NOT EXISTS (
        SELECT FROM work_units
        WHERE job_id = :job_id AND (state = 'running' OR state = 'pending' AND not_before < :deferred))
    RETURNING queue
""")


class SqlUnits:
    """Implements `core.ports.Units`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add(self, units: Sequence[NewUnit]) -> None:
        """Insert as pending."""
        if units:
            self._transaction.execute(_ADD, [_values(unit) for unit in units])

    def claim(self, queues: Sequence[Queue], *, worker: str, lease: timedelta) -> ClaimedUnit | None:
        """Lease the next due unit: tenants with the fewest running first, then the oldest; SKIP LOCKED.

        Of all tenants', those that give way come last.
        """
        asked = {"queues": [queue.value for queue in queues]}
        lanes = self._transaction.execute(_LANES, asked).all()
        giving_way = [lane for lane in lanes if lane.queue in _SHARED_WITH_BATCHES]
        for left_out, due in (_GIVES_WAY, lanes), ([], giving_way):
            for queue, tenant_id in due:
                wanted = {"queue": queue, "tenant_id": tenant_id, "left_out": left_out}
                row = self._transaction.execute(_CLAIM, {**wanted, "worker": worker, "lease": lease}).one_or_none()
                if row is not None:
                    return _claimed(row)
        return None

    def lock(self, unit_id: UUID, token: UUID) -> None:
        """Lock the row for this transaction. LeaseLostError when the token is no longer its holder."""
        if self._transaction.execute(_LOCK, {"unit_id": unit_id, "token": token}).one_or_none() is None:
            raise LeaseLostError("Another worker holds this unit by now.")

    def advance(self, unit_id: UUID, *, cursor: int, batch_limit: int | None) -> None:
        """Move the cursor; resets attempts and remembers the batch limit."""
        self._transaction.execute(_ADVANCE, {"unit_id": unit_id, "cursor": cursor, "batch_limit": batch_limit})

    def finish(self, unit_id: UUID, state: UnitState) -> None:
        """End the unit and drop its lease."""
        self._transaction.execute(_FINISH, {"unit_id": unit_id, "state": state.value})

    def release(self, unit_id: UUID, token: UUID, *, delay: timedelta) -> bool:
        """Hand the unit back as pending, due after `delay`; not an attempt. False when the lease was lost."""
        return self._transaction.execute(_RELEASE, {"unit_id": unit_id, "token": token, "delay": delay}).rowcount == 1

    def strike(self, unit_id: UUID, token: UUID, *, delay: timedelta) -> bool:
        """Hand back after a failure of our own code: one attempt more, batch limit 1. False when the lease was lost."""
        return self._transaction.execute(_STRIKE, {"unit_id": unit_id, "token": token, "delay": delay}).rowcount == 1

    def renew(self, unit_id: UUID, token: UUID, *, lease: timedelta) -> bool:
        """Extend the lease. False when it was lost. Waits while the unit's own batch is being written."""
        return self._transaction.execute(_RENEW, {"unit_id": unit_id, "token": token, "lease": lease}).rowcount == 1

    def free_expired(self) -> tuple[UUID, ...]:
        """Make units with an expired lease pending again: one attempt more, batch limit 1. Returns their ids."""
        return tuple(self._transaction.execute(_FREE_EXPIRED).scalars())

    def due(self) -> dict[Queue, int]:
        """Pending units per queue that are due now."""
        return {Queue(queue): count for queue, count in self._transaction.execute(_DUE)}

    def open_kinds(self, job_id: UUID) -> frozenset[UnitKind]:
        """Kinds of the job's units that are pending or running."""
        asked = {"job_id": job_id, "kinds": [kind.value for kind in UnitKind]}
        return frozenset(UnitKind(kind) for kind in self._transaction.execute(_OPEN_KINDS, asked).scalars())

    def items_to_come(self, gallery_id: UUID, kinds: AbstractSet[UnitKind]) -> int:
        """Items that pending and running units of these kinds, of all jobs of the gallery, still have before them."""
        asked = {"gallery_id": gallery_id, "kinds": [kind.value for kind in kinds]}
        return int(self._transaction.execute(_ITEMS_TO_COME, asked).scalar_one())

    def wake_deferred(self, job_id: UUID) -> Queue | None:
        """Make the oldest deferred unit of a job due, unless another of its units is open; the queue it is for.

        The caller holds the job's row lock, so that of units that end at once exactly one wakes it.
        """
        queue = self._transaction.execute(_WAKE_DEFERRED, {"job_id": job_id, "deferred": DEFERRED}).scalar_one_or_none()
        return None if queue is None else Queue(queue)

    def cancel_pending(self, job_id: UUID) -> int:
        """End the job's pending units as canceled (SKIP LOCKED); returns how many."""
        return self._transaction.execute(_CANCEL_PENDING, {"job_id": job_id}).rowcount


def _values(unit: NewUnit) -> dict[str, Any]:
    return {
        "id": unit.id,
        "tenant_id": unit.tenant_id,
        "job_id": unit.job_id,
        "kind": unit.kind.value,
        "queue": unit.queue.value,
        "state": UnitState.PENDING.value,
        "size": unit.size,
        "payload": unit.payload,
        "due": unit.not_before,
    }


def _claimed(row: Row[*tuple[Any, ...]]) -> ClaimedUnit:
    return ClaimedUnit(
        id=row.id,
        tenant_id=row.tenant_id,
        job_id=row.job_id,
        kind=UnitKind(row.kind),
        queue=Queue(row.queue),
        size=row.size,
        payload=row.payload,
        cursor=row.cursor,
        attempts=row.attempts,
        batch_limit=row.batch_limit,
        lease_token=row.lease_token,
    )
