"""Numbers over all tenants."""

from sqlalchemy import text

from core.models import Backlog, JobKind, JobState, Queue
from storage.transaction import Transaction

# The conditions are those of partial indexes: what has ended, nearly everything, is in none of them.

# `MATERIALIZED`: the clock is read once. Where a plan reads it anew for each unit no two units share a moment, so that
# a queue falls apart into as many groups as it has units.
_BACKLOG = text("""
    WITH present AS MATERIALIZED (SELECT clock_timestamp() AS moment)
    SELECT queue, due, deferred, running, due_since, coalesce(extract(epoch FROM moment - due_since), 0) AS oldest_due_s
    FROM (
        SELECT queue, moment,
            count(*) FILTER (WHERE state = 'pending' AND not_before <= moment) AS due,
            count(*) FILTER (WHERE state = 'pending' AND not_before > moment) AS deferred,
            count(*) FILTER (WHERE state = 'running') AS running,
            min(not_before) FILTER (WHERE state = 'pending' AND not_before <= moment) AS due_since
        FROM work_units, present
        WHERE state IN ('pending', 'running')
        GROUP BY queue, moment) AS counted
""")

_OPEN_JOBS = text("SELECT kind, state, count(*) FROM jobs WHERE finished_at IS NULL GROUP BY kind, state")

_PENDING_DELIVERIES = text("SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'")


class SqlMonitoring:
    """Implements `core.ports.Monitoring`, by the database's clock."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def backlog(self) -> dict[Queue, Backlog]:
        """For every queue: units that are due, deferred and running, and how long the oldest due one has waited."""
        found = {queue: Backlog() for queue in Queue}
        for row in self._transaction.execute(_BACKLOG):
            found[Queue(row.queue)] = Backlog(
                due=row.due,
                deferred=row.deferred,
                running=row.running,
                due_since=row.due_since,
                oldest_due_s=float(row.oldest_due_s),
            )
        return found

    def open_jobs(self) -> dict[tuple[JobKind, JobState], int]:
        """How many jobs have not ended; kinds and states without any are left out."""
        rows = self._transaction.execute(_OPEN_JOBS)
        return {(JobKind(kind), JobState(state)): count for kind, state, count in rows}

    def pending_deliveries(self) -> int:
        """How many webhooks are still to be sent."""
        return int(self._transaction.execute(_PENDING_DELIVERIES).scalar_one())
