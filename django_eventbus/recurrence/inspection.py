"""What is wrong with the declarations of what recurs, as far as only a loaded project can show?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from django_eventbus.events.inspection import Problem
from django_eventbus.exceptions import ConfigurationError

from .registry import Recurring
from .schedule import NoSuchSchedule


def find_problems(declared: Iterable[Recurring], buses: Collection[str]) -> list[Problem]:
    """Return every problem of what recurs, given the aliases of the buses; needs ready apps."""
    return [problem for each in declared for problem in (*_schedule(each), *_bus(each, buses))]


def _schedule(each: Recurring) -> Iterator[Problem]:
    try:
        each.schedule.check()
    except ConfigurationError:
        yield Problem(
            id="E090",
            message=f"{each.declared_as} recurs at {str(each.schedule)!r}, but the cron library is not installed.",
            hint="pip install 'django-eventbus[recurring]', or use every=.",
        )
    except NoSuchSchedule as exc:  # declared before the library was there to read it
        yield Problem(id="E091", message=f"{each.declared_as}: {exc}", hint="Correct the line.")


def _bus(each: Recurring, buses: Collection[str]) -> Iterator[Problem]:
    if each.bus not in buses:
        yield Problem(
            id="E092",
            message=f"{each.declared_as} recurs on bus {each.bus!r}, which is not in EVENTBUS: it would never happen.",
            hint=f"Known are {', '.join(map(repr, buses))}.",
        )
