"""Queues that nothing is taken from, although workers live."""

import time
from collections.abc import Mapping

from core.context import Context
from core.models import Backlog, Queue

SECOND_LOOK_S = 0.5


def stalled_queues(ctx: Context) -> Mapping[Queue, Backlog]:
    """Queues whose oldest due unit has waited for more than `stalled_after_s`, and that no worker has a unit of.

    Between two units of a busy worker nothing runs for a moment. So what looks stalled is looked at once more, and is
    not when a unit was taken in between.
    """
    seen = _seemingly_stalled(ctx)
    if not seen:
        return seen
    time.sleep(SECOND_LOOK_S)
    again = _seemingly_stalled(ctx)
    return {queue: now for queue, now in again.items() if queue in seen and not _moved(seen[queue], now)}


def _seemingly_stalled(ctx: Context) -> Mapping[Queue, Backlog]:
    with ctx.uow(read_only=True) as uow:
        backlog = uow.monitoring.backlog()
    limit_s = ctx.settings.stalled_after_s
    return {queue: open_ for queue, open_ in backlog.items() if open_.running == 0 and open_.oldest_due_s > limit_s}


def _moved(before: Backlog, after: Backlog) -> bool:
    return after.due_since != before.due_since or after.due < before.due
