"""When things recur: cron lines through the changes of the clocks, intervals, the latest of many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_eventbus.recurrence import schedule as module
from django_eventbus.recurrence.schedule import CronSchedule, IntervalSchedule, NoSuchSchedule, Schedule

BERLIN, NEW_YORK, LORD_HOWE, CAIRO = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"


NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def cron(line: str, timezone: str = BERLIN) -> CronSchedule:
    return CronSchedule(line=line, timezone=timezone)


def moments(schedule: Schedule, start: datetime, count: int) -> list[datetime]:
    found: list[datetime] = []
    moment: datetime | None = start
    for _ in range(count):
        assert moment is not None
        moment = schedule.after(moment)
        assert moment is not None
        found.append(moment)
    return found


def on_the_wall(schedule: CronSchedule, start: str, count: int) -> list[str]:
    """Show moments as clocks there show them, with their offset, which tells the two runs of a repeated hour apart."""
    begin = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(schedule.timezone))
    return [schedule.local(moment).strftime("%m-%d %H:%M%z") for moment in moments(schedule, begin, count)]


GOLDEN = [
    # Forward, 2026-03-29 02:00 -> 03:00 in Berlin. A fixed time that does not exist: as soon as the clocks have moved.
    ("30 2 * * *", BERLIN, "2026-03-28 00:00", ["03-28 02:30+0100", "03-29 03:00+0200", "03-30 02:30+0200"]),
    # Two fixed times that do not exist become one.
    ("0,30 2 * * *", BERLIN, "2026-03-28 12:00", ["03-29 03:00+0200", "03-30 02:00+0200"]),
    # A fixed time beside the gap is untouched.
    ("0 6 * * *", BERLIN, "2026-03-28 00:00", ["03-28 06:00+0100", "03-29 06:00+0200"]),
    # What happens every so often follows the clock on the wall: nothing is made up for.
    ("*/30 * * * *", BERLIN, "2026-03-29 01:00", ["03-29 01:30+0100", "03-29 03:00+0200", "03-29 03:30+0200"]),
    ("30 */2 * * *", BERLIN, "2026-03-29 00:00", ["03-29 00:30+0100", "03-29 04:30+0200"]),
    # Back, 2026-10-25 03:00 -> 02:00. A fixed time that comes twice: the first time only.
    ("30 2 * * *", BERLIN, "2026-10-24 12:00", ["10-25 02:30+0200", "10-26 02:30+0100"]),
    # What happens every so often happens in both of the repeated hours.
    ("30 * * * *", BERLIN, "2026-10-25 01:00", ["10-25 01:30+0200", "10-25 02:30+0200", "10-25 02:30+0100"]),
    ("30 2 * * *", NEW_YORK, "2026-03-07 12:00", ["03-08 03:00-0400", "03-09 02:30-0400"]),
    ("30 1 * * *", NEW_YORK, "2026-10-31 12:00", ["11-01 01:30-0400", "11-02 01:30-0500"]),
    # Half an hour, 2026-10-04 02:00 -> 02:30 and 2027-04-04 02:00 -> 01:30.
    ("15 2 * * *", LORD_HOWE, "2026-10-03 12:00", ["10-04 02:30+1100", "10-05 02:15+1100"]),
    ("45 1 * * *", LORD_HOWE, "2027-04-03 12:00", ["04-04 01:45+1100", "04-05 01:45+1030"]),
    # A midnight that does not exist, 2026-04-24 00:00 -> 01:00.
    ("0 0 * * *", CAIRO, "2026-04-23 12:00", ["04-24 01:00+0300", "04-25 00:00+0300"]),
    ("*/30 * 24 4 *", CAIRO, "2026-04-23 12:00", ["04-24 01:00+0300", "04-24 01:30+0300"]),
    ("0 9 * * MON-FRI", BERLIN, "2026-11-20 10:00", ["11-23 09:00+0100"]),
    ("0 9 L * *", BERLIN, "2028-02-01 00:00", ["02-29 09:00+0100"]),
    ("0 6 * * *", "UTC", "2026-03-28 12:00", ["03-29 06:00+0000"]),
]


@pytest.mark.parametrize(("line", "timezone", "start", "expected"), GOLDEN)
def test_cron_lines_keep_their_promise_when_clocks_change(
    line: str, timezone: str, start: str, expected: list[str]
) -> None:
    assert on_the_wall(cron(line, timezone), start, len(expected)) == expected


def test_second_run_of_a_repeated_hour_looks_ahead() -> None:
    # 02:15 for the second time: the fixed time 02:30 was in the first run, so it comes tomorrow.
    now = datetime(2026, 10, 25, 2, 15, tzinfo=ZoneInfo(BERLIN), fold=1)

    assert cron("30 2 * * *").after(now) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


@settings(deadline=None, max_examples=200)
@given(
    line=st.sampled_from(["30 2 * * *", "*/20 * * * *", "0 1-4 * * *", "15 */3 * * *", "59 23 * * *", "0 0 1 * *"]),
    timezone=st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, CAIRO, "UTC"]),
    start=st.timedeltas(timedelta(0), timedelta(days=730)).map(lambda passed: NEW_YEAR + passed),
    ahead=st.timedeltas(timedelta(0), timedelta(days=40)),
)
def test_moments_rise_and_are_the_same_wherever_one_begins(
    line: str, timezone: str, start: datetime, ahead: timedelta
) -> None:
    schedule = cron(line, timezone)
    first = schedule.after(start)
    assert first is not None
    assert first > start
    until = first + ahead

    one_by_one, moment = first, schedule.after(first)
    while moment is not None and moment <= until:
        assert moment > one_by_one
        one_by_one, moment = moment, schedule.after(moment)

    assert schedule.latest(first=first, until=until) == one_by_one


def test_interval_is_counted_from_1970_so_that_restarts_do_not_shift_it() -> None:
    every = IntervalSchedule(every=timedelta(minutes=5))
    start = datetime(2026, 11, 21, 12, 3, 7, tzinfo=UTC)

    assert moments(every, start, 2) == [start.replace(minute=5, second=0), start.replace(minute=10, second=0)]
    assert every.latest(first=start.replace(minute=0, second=0), until=start) == start.replace(minute=0, second=0)
    assert every.after(start.replace(minute=5, second=0)) == start.replace(minute=10, second=0)


def test_latest_of_a_long_downtime_is_found_without_walking_through_it() -> None:
    first = datetime(2006, 1, 1, tzinfo=UTC)
    until = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)

    assert cron("* * * * *").latest(first=first, until=until) == until.replace(second=0)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (cron("0 25 * * *"), "'0 25 \\* \\* \\*' is no cron line: bad hour"),
        (cron("0 6 * *"), "has 4 fields. Write five"),
        (cron("0 0 6 * * *"), "has 6 fields. Write five"),
        (cron("0 6 30 2 *"), "day"),
        (cron("0 6 * * *", "Europe/Atlantis"), "timezone='Europe/Atlantis' is not known here"),
        (cron("0 6 * * *", "../etc/passwd"), "is not known here"),
        (IntervalSchedule(every=timedelta(milliseconds=200)), "every=0.2 s; give one second or more"),
    ],
)
def test_what_cannot_recur_is_said(schedule: Schedule, message: str) -> None:
    with pytest.raises(NoSuchSchedule, match=message):
        schedule.check()


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_eventbus.exceptions import ConfigurationError

    monkeypatch.setattr(module, "CronSim", None)

    with pytest.raises(ConfigurationError, match="pip install 'django-eventbus\\[recurring\\]'"):
        cron("0 6 * * *").check()
