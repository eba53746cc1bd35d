"""Which moments a cron expression names."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.cron import Cron
from core.errors import InvalidInputError

BERLIN = "Europe/Berlin"
ZONES = ("UTC", BERLIN, "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo")
HOUR = timedelta(hours=1)

moments = st.integers(
    int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2028, 1, 1, tzinfo=UTC).timestamp())
).map(lambda second: datetime.fromtimestamp(second, UTC))
minutes = st.integers(0, 59)
hours = st.integers(0, 23)


def local(text: str, zone: str = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def ticks(expression: str, after: datetime, count: int, zone: str = BERLIN) -> list[str]:
    found = islice(Cron(expression, zone).ticks(after), count)
    return [tick.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes") for tick in found]


def test_every_night_at_three() -> None:
    assert ticks("0 3 * * *", local("2026-11-23T03:00"), 2) == ["2026-11-24T03:00+01:00", "2026-11-25T03:00+01:00"]


def test_a_tick_in_the_gap_runs_once_at_its_end() -> None:
    found = ticks("30 2 * * *", local("2026-03-28T12:00"), 2)
    assert found == ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]


def test_two_ticks_in_the_gap_run_once() -> None:
    found = ticks("0,30 2 * * *", local("2026-03-28T12:00"), 2)
    assert found == ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]


def test_a_tick_in_the_fold_runs_once() -> None:
    found = ticks("30 2 * * *", local("2026-10-24T12:00"), 2)
    assert found == ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]
    in_the_second_hour = local("2026-10-25T02:10").replace(fold=1)
    assert ticks("30 2 * * *", in_the_second_hour, 1) == ["2026-10-26T02:30+01:00"]


def test_an_hourly_tick_follows_real_time() -> None:
    for day in ("2026-03-29", "2026-10-25"):
        found = list(islice(Cron("0 * * * *", BERLIN).ticks(local(f"{day}T00:00")), 6))
        assert {later - earlier for earlier, later in pairwise(found)} == {HOUR}


@pytest.mark.parametrize(
    ("cron", "zone", "pointer"),
    [
        ("0 3 * *", "UTC", "/cron"),
        ("0 0 3 * * *", "UTC", "/cron"),
        ("60 3 * * *", "UTC", "/cron"),
        ("@daily", "UTC", "/cron"),
        ("0 3 30 2 *", "UTC", "/cron"),
        ("0 3 * 2 MON#6", "UTC", "/cron"),
        ("0 3 * * *", "Europe", "/timezone"),
        ("0 3 * * *", "Mars/Olympus", "/timezone"),
        ("0 3 * * *", "../../etc/passwd", "/timezone"),
        ("0 3 * * *", "a\0", "/timezone"),
        ("0 3 * * *", "", "/timezone"),
    ],
)
def test_what_cannot_be_is_refused_by_name(cron: str, zone: str, pointer: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Cron(cron, zone)
    assert [error.pointer for error in caught.value.errors] == [pointer]


def test_spaces_do_not_matter() -> None:
    assert Cron(" 0  3 * * *\t", "UTC").expression == "0 3 * * *"


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        tick = Cron(text, BERLIN).next_tick(datetime(2026, 1, 1, tzinfo=UTC))
    except InvalidInputError:
        return
    assert tick.tzinfo is UTC


@settings(max_examples=15)
@given(minutes, hours, moments, st.sampled_from(ZONES))
def test_a_daily_tick_comes_once_on_every_local_day(minute: int, hour: int, after: datetime, zone: str) -> None:
    """Also on the two odd days of a year: at its time of day, or where the clocks skip that, within the next hour."""
    found = list(islice(Cron(f"{minute} {hour} * * *", zone).ticks(after), 200))
    assert all(later > earlier for earlier, later in zip([after, *found], found, strict=False))
    days = [tick.astimezone(ZoneInfo(zone)) for tick in found]
    assert [day.date() - days[0].date() for day in days] == [timedelta(days=number) for number in range(200)]
    wanted = timedelta(hours=hour, minutes=minute)
    late = [timedelta(hours=day.hour, minutes=day.minute) - wanted for day in days]
    assert all(timedelta(0) <= each <= HOUR for each in late)
    assert sum(each > timedelta(0) for each in late) <= 3


@settings(max_examples=50)
@given(st.sampled_from(["*/7 * * * *", "5 * * * *", "0 3 * * *", "30 2 * * MON"]), moments, st.sampled_from(ZONES))
def test_looking_from_any_moment_before_finds_the_same_tick(cron: str, after: datetime, zone: str) -> None:
    schedule = Cron(cron, zone)
    tick = schedule.next_tick(after)
    for share in (0.25, 0.5, 0.999):
        assert schedule.next_tick(after + share * (tick - after)) == tick
    assert schedule.next_tick(tick) > tick


@settings(max_examples=50)
@given(
    st.sampled_from(["*/20 * * * *", "10 4 * * *", "30 2 * * SUN", "0 0 1 * *"]),
    moments,
    st.integers(0, 60 * 24 * 40),
    st.sampled_from(ZONES),
)
def test_the_latest_of_missed_ticks(cron: str, after: datetime, away_minutes: int, zone: str) -> None:
    schedule = Cron(cron, zone)
    since = schedule.next_tick(after)
    until = since + timedelta(minutes=away_minutes)
    latest = schedule.latest_tick(since, until)
    assert since <= latest <= until
    assert schedule.next_tick(latest) > until
