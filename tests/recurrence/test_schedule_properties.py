"""Moments of any cron line rise strictly, fit their line, and leave none out, also where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import assume, given
from hypothesis import strategies as st

from django_eventbus.recurrence.schedule import CronSchedule, IntervalSchedule

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia")
START = datetime(2026, 1, 1, tzinfo=UTC)
starts = st.timedeltas(timedelta(), timedelta(days=800)).map(lambda passed: START + passed)


@st.composite
def fields(draw: st.DrawFn, low: int, high: int, *, top: int = 0) -> tuple[str, frozenset[int]]:
    """Make one field of a cron line up to `high` (`top` for what goes through), and the numbers that it stands for."""
    every = frozenset(range(low, max(high, top) + 1))
    kind = draw(st.sampled_from(["any", "step", "list", "range"]))
    if kind == "any":
        return "*", every
    if kind == "step":
        step = draw(st.integers(2, max(2, (high - low) // 2)))
        return f"*/{step}", frozenset(range(low, max(high, top) + 1, step))
    numbers = draw(st.lists(st.integers(low, high), min_size=1, max_size=3, unique=True))
    if kind == "list":
        return ",".join(map(str, numbers)), frozenset(numbers)
    first, last = min(numbers), max(numbers)
    return f"{first}-{last}", frozenset(range(first, last + 1))


@given(fields(0, 59), fields(0, 23), fields(1, 28, top=31), fields(1, 12), starts, st.sampled_from(ZONES))
def test_moments_rise_and_none_is_given_twice(
    minute: tuple[str, frozenset[int]],
    hour: tuple[str, frozenset[int]],
    day: tuple[str, frozenset[int]],
    month: tuple[str, frozenset[int]],
    start: datetime,
    zone: str,
) -> None:
    schedule = CronSchedule(line=f"{minute[0]} {hour[0]} {day[0]} {month[0]} *", timezone=zone)

    found, moment = [], start
    for _ in range(12):
        following = schedule.after(moment)
        assert following is not None
        found.append(moment := following)

    assert found[0] > start
    assert all(earlier < later for earlier, later in pairwise(found))
    for moment in found:
        local = moment.astimezone(ZoneInfo(zone))
        assert local.month in month[1]
        assert moment.second == moment.microsecond == 0
        if not is_near_a_change(moment, ZoneInfo(zone)):
            assert (local.minute in minute[1], local.hour in hour[1], local.day in day[1]) == (True, True, True)


@given(fields(0, 59), fields(0, 23), starts)
def test_in_utc_every_minute_that_fits_is_a_moment(
    minute: tuple[str, frozenset[int]], hour: tuple[str, frozenset[int]], start: datetime
) -> None:
    schedule = CronSchedule(line=f"{minute[0]} {hour[0]} * * *", timezone="UTC")
    first = start.replace(second=0, microsecond=0) + timedelta(minutes=1)
    minutes = (first + timedelta(minutes=number) for number in range(60 * 25))
    fitting = [moment for moment in minutes if moment.minute in minute[1] and moment.hour in hour[1]][:20]

    found, moment = [], start
    for _ in fitting:
        following = schedule.after(moment)
        assert following is not None
        found.append(moment := following)

    assert found == fitting


@given(st.timedeltas(timedelta(seconds=1), timedelta(days=400)), starts, st.integers(0, 50))
def test_intervals_are_whole_and_whoever_asks_gets_the_same(every: timedelta, start: datetime, ahead: int) -> None:
    schedule = IntervalSchedule(every=every)
    assume(every * (ahead + 2) < timedelta(days=365_000))

    first = schedule.after(start)
    assert first is not None
    until = first + every * ahead + every / 2

    assert start < first <= start + every
    assert schedule.after(first) == first + every
    assert schedule.latest(first=first, until=until) == first + every * ahead


def is_near_a_change(moment: datetime, zone: ZoneInfo) -> bool:
    around = {(moment + timedelta(hours=hours)).astimezone(zone).utcoffset() for hours in (-25, -2, 0, 2, 25)}
    return len(around) > 1
