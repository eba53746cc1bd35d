"""What the scheduler sends, and when."""

from celery.beat import Scheduler

from core.settings import Settings
from workers.app import UPKEEP_TASK, WEBHOOKS_TASK, create_celery


def scheduler(settings: Settings) -> Scheduler:
    return Scheduler(create_celery(settings), lazy=False)


def test_upkeep_is_due_at_the_start_and_then_once_a_period() -> None:
    """A scheduler that is restarted more often than once a period would otherwise never come to it."""
    entries = scheduler(Settings(redis_url="redis://127.0.0.1:1/0", upkeep_every_s=100.0)).schedule
    due = {name for name, entry in entries.items() if entry.is_due().is_due}
    assert due == {"upkeep"}
    assert entries["upkeep"].task == UPKEEP_TASK
    later = next(entries["upkeep"]).is_due()
    assert not later.is_due
    assert 90 < later.next <= 100


def test_a_tick_that_nobody_takes_is_forgotten_before_the_next_ones_pile_up() -> None:
    entries = scheduler(Settings(redis_url="redis://127.0.0.1:1/0")).schedule
    assert entries["webhooks"].task == WEBHOOKS_TASK
    assert all(0 < entry.options["expires"] <= 3600 for entry in entries.values())
