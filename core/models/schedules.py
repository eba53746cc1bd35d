"""Schedules: what a gallery does by itself, and when."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class SkippedTick:
    """A moment at which nothing was started, and why."""

    tick: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """A gallery's schedule: at each tick of `cron` in `timezone` one import, or one re-index without a source.

    `params` is what each run is told: source, mode, max_delete_share, callback_url. `next_tick` is due then; of
    `last_tick`, the latest that came, `last_job_id` or `last_skipped` tells what became of it.
    """

    gallery_id: UUID
    tenant_id: UUID
    gallery_name: str
    cron: str
    timezone: str
    params: dict[str, Any]
    next_tick: datetime
    created_at: datetime
    updated_at: datetime
    last_tick: datetime | None = None
    last_job_id: UUID | None = None
    last_skipped: SkippedTick | None = None
