"""Heartbeats of workers."""

from datetime import timedelta

from sqlalchemy import delete, func, text
from sqlalchemy.dialects.postgresql import insert

from core.models import Consumers, Queue, WorkerBeat
from storage.tables import WorkerRow
from storage.transaction import Transaction

_CONSUMERS = text("""
    SELECT queue, count(*) FILTER (WHERE beat_at > clock_timestamp() - :alive_within) AS alive, max(beat_at) AS last
    FROM workers, unnest(queues) AS queue
    GROUP BY queue
""")


class SqlWorkers:
    """Implements `core.ports.Workers`, by the database's clock."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def beat(self, beat: WorkerBeat) -> None:
        """Insert or refresh the row."""
        values = {
            "queues": [queue.value for queue in beat.queues],
            "device": beat.device,
            "pid": beat.pid,
            "host": beat.host,
            "beat_at": func.clock_timestamp(),
        }
        insertion = insert(WorkerRow).values(values | {"name": beat.name})
        self._transaction.execute(insertion.on_conflict_do_update(index_elements=[WorkerRow.name], set_=values))

    def remove(self, name: str) -> None:
        """Forget a worker that stopped."""
        self._transaction.execute(delete(WorkerRow).where(WorkerRow.name == name))

    def consumers(self, *, alive_within: timedelta) -> dict[Queue, Consumers]:
        """For every queue: live workers, and when one was last seen."""
        found = {queue: Consumers(queue=queue, count=0, last_seen_at=None) for queue in Queue}
        for name, alive, last in self._transaction.execute(_CONSUMERS, {"alive_within": alive_within}):
            found[Queue(name)] = Consumers(queue=Queue(name), count=alive, last_seen_at=last)
        return found

    def forget(self, *, silent_for: timedelta) -> int:
        """Delete rows of workers silent for that long."""
        silent = WorkerRow.beat_at < func.clock_timestamp() - silent_for
        return self._transaction.execute(delete(WorkerRow).where(silent)).rowcount
