"""Which functions publish events again and again, and when?"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import FunctionType
from typing import Any, TypeVar, get_args

from asgiref.sync import iscoroutinefunction
from django.conf import settings

from django_eventbus.delivery.names import app_label_of, default_name, legal_name
from django_eventbus.delivery.registry import Published
from django_eventbus.exceptions import ConfigurationError, ContractError

from .occurrence import Missed
from .schedule import CronSchedule, IntervalSchedule, NoSuchSchedule, Schedule

DEFAULT_BUS = "default"
F = TypeVar("F", bound=Callable[[], Published] | Callable[[datetime], Published])

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recurring:
    """Be one function that publishes events at its times; one per function, compared by identity."""

    name: str  # stored with its place, and part of its events' ids
    function: Callable[..., Any]
    schedule: Schedule
    missed: Missed
    bus: str  # alias in EVENTBUS
    takes_moment: bool

    @property
    def declared_as(self) -> str:
        """Return module and name of the function."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    def call(self, at: datetime) -> object:
        """Call the function for an occurrence, whose time it gets in the schedule's time zone if it asks for it."""
        return self.function(self.schedule.local(at)) if self.takes_moment else self.function()


class RecurringRegistry:
    """Know everything that recurs by its name. Filled while modules are imported, then read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects _by_name while it is checked and extended
        self._by_name: dict[str, Recurring] = {}

    def register(self, new: Recurring) -> None:
        """Add one; a function that was imported again replaces itself. Raise ContractError for a name in use."""
        with self._lock:
            holder = self._by_name.get(new.name)
            if holder is not None and holder.declared_as != new.declared_as:
                raise ContractError(
                    f"{new.declared_as}: the name {new.name!r} belongs to {holder.declared_as}. Give one a name=."
                )
            self._by_name = {**self._by_name, new.name: new}

    def all(self) -> tuple[Recurring, ...]:
        """Return everything that recurs, in order of declaration."""
        return tuple(self._by_name.values())

    def of(self, bus: str) -> tuple[Recurring, ...]:
        """Return what recurs on one bus."""
        return tuple(each for each in self._by_name.values() if each.bus == bus)

    def find(self, name: str) -> Recurring | None:
        """Return what bears this name."""
        return self._by_name.get(name)

    @contextmanager
    def isolated(self) -> Iterator[RecurringRegistry]:
        """Forget, at the end of the block, what was registered inside it. For tests; not for several threads."""
        saved = self._by_name
        try:
            yield self
        finally:
            self._by_name = saved


recurrings = RecurringRegistry()


def recurring(
    cron: str | None = None,
    /,
    *,
    every: timedelta | float | None = None,
    timezone: str | None = None,
    missed: Missed = "latest",
    name: str | None = None,
    bus: str = DEFAULT_BUS,
) -> Callable[[F], F]:
    """Declare a function whose events are published again and again, such as `@recurring("0 6 * * *")`.

    It is called as `()`, or as `(at)` with the time that the occurrence was planned for; it stays a plain callable.
    What it returns (an event, several, or None) is published in the transaction in which it ran, by the relay of the
    bus, each occurrence once however many relays run. The cron line is read in `timezone`, else in TIME_ZONE. Instead
    of it give `every=timedelta(minutes=5)` (or seconds), counted from the start of 1970 in UTC. `missed` says what
    happens to occurrences of a time in which no relay ran: the `latest` is made up for, all are skipped (`skip`), or
    `all` are made up for in their order. `name` is `<app_label>.<function>` where it is not given. Raises
    ContractError for what can be seen at once.
    """
    if isinstance(cron, FunctionType):
        raise ContractError(f'@recurring on {cron.__qualname__} has no times. Write @recurring("0 6 * * *").')

    def decorate(function: F) -> F:
        shown = getattr(function, "__qualname__", repr(function))
        if missed not in get_args(Missed):
            raise ContractError(f"{shown}: missed={missed!r}; give {', '.join(map(repr, get_args(Missed)))}.")
        chosen = name or default_name(function, app_label_of(function))
        recurrings.register(
            Recurring(
                name=legal_name(chosen, of=shown),
                function=function,
                schedule=_schedule(shown, cron, every, timezone),
                missed=missed,
                bus=bus,
                takes_moment=_takes_moment(function, shown),
            )
        )
        return function

    return decorate


def _schedule(shown: str, cron: str | None, every: timedelta | float | None, timezone: str | None) -> Schedule:
    if (cron is None) == (every is None):
        raise ContractError(f'{shown}: give a cron line, such as "0 6 * * *", or every=timedelta(minutes=5).')
    schedule: Schedule
    if every is not None:
        if timezone is not None:
            raise ContractError(f"{shown}: timezone= belongs to a cron line; every= is the same in all time zones.")
        length = every if isinstance(every, timedelta) else timedelta(seconds=every)
        schedule = IntervalSchedule(every=length)
    else:
        schedule = CronSchedule(line=" ".join(str(cron).split()), timezone=timezone or settings.TIME_ZONE)
    try:
        schedule.check()
    except NoSuchSchedule as exc:
        raise ContractError(f"{shown}: {exc}") from exc
    except ConfigurationError:
        pass  # without the library no line can be read; `check` says it
    return schedule


def _takes_moment(function: Callable[..., Any], shown: str) -> bool:
    if iscoroutinefunction(function):
        raise ContractError(f"{shown} is a coroutine. Make it a plain function: it runs inside a transaction.")
    parameters = inspect.signature(function).parameters.values()
    demanded = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(demanded) > 1 or any(p.kind not in _POSITIONAL for p in demanded):
        raise ContractError(f"{shown}{inspect.signature(function)} is not callable as () or (at).")
    return bool(demanded)
