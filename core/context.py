"""What every use case gets: the ports and the settings, built once by a composition root."""

from dataclasses import dataclass
from datetime import UTC, datetime

from core.ports import Clock, Doorbell, ObjectStore, UnitOfWorkFactory
from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """Ports of the running process. Models are not here: only workers have them."""

    uow: UnitOfWorkFactory
    objects: ObjectStore
    doorbell: Doorbell
    clock: Clock
    settings: Settings


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present in UTC."""
        return datetime.now(UTC)
