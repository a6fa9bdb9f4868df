"""When does what recurs happen next?

A cron line is read as Debian's cron reads it, in a time zone. Where clocks are put forward, what is planned for a fixed
time that does not exist happens as soon as the clocks have moved; where they are put back, it happens the first time
only. What happens every so many minutes or hours (a field that begins with `*`) follows the clock on the wall instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from django_eventbus.exceptions import ConfigurationError

try:
    from cronsim import CronSim, CronSimError
except ImportError:  # the checks say so where something recurs by a cron line
    CronSim = None  # type: ignore[assignment,misc]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TICK = timedelta(seconds=1)
# How far back the latest moment is looked for: most schedules have one in the first of these.
REACHES = (timedelta(hours=1), timedelta(days=1), timedelta(days=31), timedelta(days=366))


class NoSuchSchedule(ValueError):
    """A cron line cannot be read, or names a time zone that is not known, or a day that never comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CronSchedule:
    """Be the moments of a cron line in a time zone."""

    line: str  # minute, hour, day of month, month, day of week
    timezone: str

    def after(self, moment: datetime) -> datetime | None:
        """Return the first moment after this one, in UTC; None where none comes within fifty years."""
        return next(self._moments(after=moment), None)

    def latest(self, *, first: datetime, until: datetime) -> datetime:
        """Return the last moment up to `until`; `first` is one of the schedule's own moments and not after it."""
        for reach in REACHES:
            if until - reach < first:
                break
            if (found := self._last(after=until - reach, until=until)) is not None:
                return found
        return self._last(after=first - TICK, until=until) or first

    def local(self, moment: datetime) -> datetime:
        """Return a moment in the schedule's own time zone."""
        return moment.astimezone(ZoneInfo(self.timezone))

    def check(self) -> None:
        """Raise NoSuchSchedule for what can never be read, ConfigurationError where the library is missing."""
        try:
            ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError) as exc:
            raise NoSuchSchedule(
                f"timezone={self.timezone!r} is not known here. Write a name such as 'Europe/Berlin' (on systems "
                "without time zones: pip install tzdata)."
            ) from exc
        if len(self.line.split()) != 5:
            raise NoSuchSchedule(
                f"{self.line!r} has {len(self.line.split())} fields. Write five: minute, hour, day of month, month, "
                "day of week, such as '0 6 * * *'; every=timedelta(seconds=10) is for what happens more often."
            )
        if self.after(datetime.now(UTC)) is None:
            raise NoSuchSchedule(f"{self.line!r} names a day that never comes.")

    def __str__(self) -> str:
        return f"{self.line} {self.timezone}"

    def _moments(self, *, after: datetime) -> Iterator[datetime]:
        if CronSim is None:
            raise ConfigurationError(f"{self.line!r} needs the cron library: pip install 'django-eventbus[recurring]'.")
        try:
            found = CronSim(self.line, self.local(after))
        except CronSimError as exc:
            raise NoSuchSchedule(f"{self.line!r} is no cron line: {str(exc).lower()}.") from exc
        last = after
        for local in found:
            # A fixed time within the hour that the clocks repeat comes back as its first occurrence: it may be over.
            if (moment := local.astimezone(UTC)) > last:
                last = moment
                yield moment

    def _last(self, *, after: datetime, until: datetime) -> datetime | None:
        last = None
        for moment in self._moments(after=after):
            if moment > until:
                break
            last = moment
        return last


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalSchedule:
    """Be the moments a whole number of intervals after the start of 1970 in UTC: no restart shifts them."""

    every: timedelta

    def after(self, moment: datetime) -> datetime | None:
        """Return the first moment after this one."""
        return EPOCH + ((moment - EPOCH) // self.every + 1) * self.every

    def latest(self, *, first: datetime, until: datetime) -> datetime:
        """Return the last moment up to `until`; `first` is one of the schedule's own moments and not after it."""
        return max(first, EPOCH + (until - EPOCH) // self.every * self.every)

    def local(self, moment: datetime) -> datetime:
        """Return a moment in UTC."""
        return moment.astimezone(UTC)

    def check(self) -> None:
        """Raise NoSuchSchedule for what is shorter than a relay's turn."""
        if self.every < TICK:
            raise NoSuchSchedule(f"every={self.every.total_seconds():g} s; give one second or more.")

    def __str__(self) -> str:
        return f"every {self.every}"


Schedule = CronSchedule | IntervalSchedule
