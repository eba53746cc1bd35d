"""Units of work and workers in SQL."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from core.models import ClaimedUnit, Consumers, NewUnit, Queue, UnitKind, UnitState, WorkerBeat


class Units(Protocol):
    """Units of work and their leases."""

    def add(self, units: Sequence[NewUnit]) -> None:
        """Insert as pending."""
        ...

    def claim(self, queues: Sequence[Queue], *, worker: str, lease: timedelta) -> ClaimedUnit | None:
        """Lease the next due unit: tenants with the fewest running first, then the oldest; SKIP LOCKED.

        Units of a kind in GIVES_WAY are leased only where no other is due.
        """
        ...

    def lock(self, unit_id: UUID, token: UUID) -> None:
        """Lock the row for this transaction. LeaseLostError when the token is no longer its holder."""
        ...

    def advance(self, unit_id: UUID, *, cursor: int, batch_limit: int | None) -> None:
        """Move the cursor; resets attempts and remembers the batch limit."""
        ...

    def finish(self, unit_id: UUID, state: UnitState) -> None:
        """End the unit and drop its lease."""
        ...

    def release(self, unit_id: UUID, token: UUID, *, delay: timedelta) -> bool:
        """Hand the unit back as pending, due after `delay`; not an attempt. False when the lease was lost."""
        ...

    def strike(self, unit_id: UUID, token: UUID, *, delay: timedelta) -> bool:
        """Hand back after a failure of our own code: one attempt more, batch limit 1. False when the lease was lost."""
        ...

    def renew(self, unit_id: UUID, token: UUID, *, lease: timedelta) -> bool:
        """Extend the lease. False when it was lost."""
        ...

    def free_expired(self) -> tuple[UUID, ...]:
        """Make units with an expired lease pending again: one attempt more, batch limit 1. Returns their ids."""
        ...

    def due(self) -> dict[Queue, int]:
        """Pending units per queue that are due now."""
        ...

    def open_kinds(self, job_id: UUID) -> frozenset[UnitKind]:
        """Kinds of the job's units that are pending or running."""
        ...

    def items_to_come(self, gallery_id: UUID, kinds: AbstractSet[UnitKind]) -> int:
        """Items that pending and running units of these kinds, of all jobs of the gallery, still have before them."""
        ...

    def wake_deferred(self, job_id: UUID) -> Queue | None:
        """Make the oldest deferred unit of a job due, unless another of its units is open; the queue it is for."""
        ...

    def cancel_pending(self, job_id: UUID) -> int:
        """End the job's pending units as canceled (SKIP LOCKED); returns how many."""
        ...


class Workers(Protocol):
    """Heartbeats."""

    def beat(self, beat: WorkerBeat) -> None:
        """Insert or refresh the row."""
        ...

    def remove(self, name: str) -> None:
        """Forget a worker that stopped."""
        ...

    def consumers(self, *, alive_within: timedelta) -> dict[Queue, Consumers]:
        """For every queue: live workers, and when one was last seen."""
        ...

    def forget(self, *, silent_for: timedelta) -> int:
        """Delete rows of workers silent for that long."""
        ...
