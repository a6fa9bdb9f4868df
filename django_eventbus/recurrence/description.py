"""What recurs in this project, and when next?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django_eventbus.exceptions import ConfigurationError

from .occurrence import Missed
from .registry import Recurring
from .schedule import NoSuchSchedule

SHOWN = 3  # occurrences to come
MISSED: Mapping[Missed, str] = {
    "latest": "the latest is made up for",
    "skip": "all are skipped",
    "all": "all are made up for, in their order",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringDescription:
    """Show one recurring event."""

    bus: str
    name: str
    declared_as: str
    schedule: str
    missed: Missed
    next: tuple[str, ...]  # by its schedule alone: a pause is not known here

    @property
    def names(self) -> Collection[str]:
        """Return what one may call it."""
        return {self.name, self.declared_as, self.declared_as.rpartition(".")[2]}

    def lines(self, *, in_full: bool) -> list[str]:
        """Write it for people; `in_full` explains it over several lines."""
        head = f"{self.name} at {self.schedule} [{self.bus}]"
        if not in_full:
            return [head]
        details = {
            "function": self.declared_as,
            "missed ones": MISSED[self.missed],
            "next": ", ".join(self.next) or "never",
        }
        return [head, *(f"    {name}: {text}" for name, text in details.items())]


def describe_recurring(
    declared: Iterable[Recurring], buses: Collection[str], *, now: datetime
) -> tuple[RecurringDescription, ...]:
    """Describe what recurs on these buses."""
    return tuple(
        RecurringDescription(
            bus=each.bus,
            name=each.name,
            declared_as=each.declared_as,
            schedule=str(each.schedule),
            missed=each.missed,
            next=_next(each, now),
        )
        for each in declared
        if each.bus in buses
    )


def _next(each: Recurring, now: datetime) -> tuple[str, ...]:
    found: list[str] = []
    try:
        moment = each.schedule.after(now)
        while moment is not None and len(found) < SHOWN:
            found.append(f"{each.schedule.local(moment):%Y-%m-%d %H:%M:%S %Z}")
            moment = each.schedule.after(moment)
    except (ConfigurationError, NoSuchSchedule) as exc:
        return (str(exc),)
    return tuple(found)
