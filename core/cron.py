"""Cron expressions in a time zone: which moments they name, daylight saving time included.

As in Debian's cron, a time of day that the clocks skip counts at the end of the gap, and one that they repeat counts
once; hours or minutes that begin with `*` follow real time instead, so that `*/15 * * * *` stays a quarter of an hour.
"""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from core.errors import FieldError, InvalidInputError

_FIELDS = 5
_SECOND = timedelta(seconds=1)
_WINDOWS = tuple(timedelta(hours=hours) for hours in (1, 25, 32 * 24, 367 * 24))


class Cron:
    """`minute hour day-of-month month day-of-week` in a zone of the IANA database.

    InvalidInputError when either cannot be read, or when no such moment ever comes.
    """

    def __init__(self, expression: str, timezone: str) -> None:
        self._expression = " ".join(expression.split())
        self._zone = _zone(timezone)
        if len(self._expression.split()) != _FIELDS:
            raise _invalid("/cron", "`cron` has five fields: minute, hour, day of month, month, day of week.")
        try:
            first = next(self.ticks(datetime.now(UTC)), None)
        except CronSimError as error:
            example = "five fields such as `0 3 * * *` (every night at three) or `30 1 * * MON`"
            raise _invalid("/cron", f"`cron` cannot be read ({error}): write {example}.") from error
        if first is None:
            raise _invalid("/cron", "`cron` names a moment that never comes; check day and month.")

    @property
    def expression(self) -> str:
        """The five fields, one space between them."""
        return self._expression

    def ticks(self, after: datetime) -> Iterator[datetime]:
        """The moments after `after`, in UTC and ascending; ends when none comes for fifty years."""
        latest = after
        for local in CronSim(self._expression, after.astimezone(self._zone)):
            tick = local.astimezone(UTC)
            if tick > latest:  # what the clocks repeat lies behind us the second time
                latest = tick
                yield tick

    def next_tick(self, after: datetime) -> datetime:
        """The first moment after `after`, in UTC. InvalidInputError when there is none any more."""
        for tick in self.ticks(after):
            return tick
        raise _invalid("/cron", "`cron` names no further moment; set another.")

    def latest_tick(self, since: datetime, until: datetime) -> datetime:
        """The last moment in [since, until]; `since`, a tick itself, when no later one has come."""
        for window in _WINDOWS:
            if until - window <= since:
                break
            found = self._last(until - window, until)
            if found is not None:
                return found
        return self._last(since - _SECOND, until) or since

    def _last(self, after: datetime, until: datetime) -> datetime | None:
        last = deque(takewhile(lambda tick: tick <= until, self.ticks(after)), maxlen=1)
        return last[0] if last else None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        detail = "`timezone` is a name of the IANA database such as `Europe/Berlin` or `UTC`."
        raise _invalid("/timezone", detail) from error


def _invalid(pointer: str, detail: str) -> InvalidInputError:
    return InvalidInputError(detail, errors=(FieldError(pointer, detail),))
