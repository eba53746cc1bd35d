"""Numbers over all tenants, for whoever runs the service."""

from typing import Protocol

from core.models import Backlog, JobKind, JobState, Queue


class Monitoring(Protocol):
    """What is open at this moment. Each call is one statement, which reads nothing that has ended."""

    def backlog(self) -> dict[Queue, Backlog]:
        """For every queue: units that are due, deferred and running, and how long the oldest due one has waited."""
        ...

    def open_jobs(self) -> dict[tuple[JobKind, JobState], int]:
        """How many jobs have not ended; kinds and states without any are left out."""
        ...

    def pending_deliveries(self) -> int:
        """How many webhooks are still to be sent."""
        ...
