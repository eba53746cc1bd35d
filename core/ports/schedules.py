"""Schedules of galleries in SQL."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from core.models import Schedule


class Schedules(Protocol):
    """At most one a gallery; it goes with its gallery. `Jobs.add_scheduled` sees to one job a tick."""

    def get(self, gallery_id: UUID) -> Schedule | None:
        """The gallery's schedule."""
        ...

    def put(self, schedule: Schedule) -> bool:
        """Store cron, timezone, params and next tick; what came of earlier ticks stays. Returns whether it is new."""
        ...

    def remove(self, gallery_id: UUID) -> bool:
        """Delete; returns whether there was one."""
        ...

    def due(self, now: datetime, *, limit: int) -> tuple[UUID, ...]:
        """Galleries whose next tick has come, the most overdue first; without those that are being deleted."""
        ...

    def claim(self, gallery_id: UUID, now: datetime) -> Schedule | None:
        """The schedule, its row locked, if it is still due and nobody else has it. SKIP LOCKED."""
        ...

    def record(self, schedule: Schedule) -> None:
        """Write the next tick, and what became of the last one."""
        ...
