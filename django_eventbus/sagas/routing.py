"""Which method of a saga takes which event, and which takes a timeout?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import FunctionType
from typing import Any, TypeVar, overload

from django_eventbus.delivery.registry import Event, Published
from django_eventbus.events.contract import Dispatch
from django_eventbus.events.registry import events as known_events
from django_eventbus.exceptions import ContractError, NotAnEvent

from .declaration import WhenUnknown

A = TypeVar("A", bound=Event)
B = TypeVar("B", bound=Event)
C = TypeVar("C", bound=Event)
S = TypeVar("S")
R = TypeVar("R", bound=Published)

Method1 = Callable[[S, A], R]
Correlate = str | tuple[str, ...] | Callable[[A], object] | None

MARKS = "_eventbus_saga_marks"


class Role(Enum):
    """Say what a method does with its events."""

    STARTS = "starts"
    ON = "on"
    STARTS_OR_ON = "starts_or_on"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMark:
    """Be what one decorator says of a method."""

    role: Role
    events: tuple[type[Any], ...]
    correlate: Any = None
    when_unknown: WhenUnknown | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutMark:
    """Say that a method takes a timeout."""

    name: str


Mark = EventMark | TimeoutMark


@overload
def starts(
    a: type[A], /, *, correlate: Correlate[A] = None
) -> Callable[[Callable[[S, A], R]], Callable[[S, A], R]]: ...
@overload
def starts(
    a: type[A], b: type[B], /, *, correlate: Correlate[A | B] = None
) -> Callable[[Callable[[S, A | B], R]], Callable[[S, A | B], R]]: ...
@overload
def starts(
    a: type[A], b: type[B], c: type[C], /, *, correlate: Correlate[A | B | C] = None
) -> Callable[[Callable[[S, A | B | C], R]], Callable[[S, A | B | C], R]]: ...
@overload
def starts(
    a: type[Event],
    b: type[Event],
    c: type[Event],
    d: type[Event],
    /,
    *events: type[Event],
    correlate: Correlate[Any] = None,
) -> Callable[[Callable[..., R]], Callable[..., R]]: ...
def starts(*events: type[Any], correlate: Correlate[Any] = None) -> Any:
    """Declare the method that makes a new instance; an event for one that exists is ignored and counted."""
    return _marking(EventMark(role=Role.STARTS, events=_require_events("starts", events), correlate=correlate))


@overload
def on(
    a: type[A], /, *, correlate: Correlate[A] = None, not_found: WhenUnknown | None = None
) -> Callable[[Callable[[S, A], R]], Callable[[S, A], R]]: ...
@overload
def on(
    a: type[A], b: type[B], /, *, correlate: Correlate[A | B] = None, not_found: WhenUnknown | None = None
) -> Callable[[Callable[[S, A | B], R]], Callable[[S, A | B], R]]: ...
@overload
def on(
    a: type[A],
    b: type[B],
    c: type[C],
    /,
    *,
    correlate: Correlate[A | B | C] = None,
    not_found: WhenUnknown | None = None,
) -> Callable[[Callable[[S, A | B | C], R]], Callable[[S, A | B | C], R]]: ...
@overload
def on(
    a: type[Event],
    b: type[Event],
    c: type[Event],
    d: type[Event],
    /,
    *events: type[Event],
    correlate: Correlate[Any] = None,
    not_found: WhenUnknown | None = None,
) -> Callable[[Callable[..., R]], Callable[..., R]]: ...
def on(*events: type[Any], correlate: Correlate[Any] = None, not_found: WhenUnknown | None = None) -> Any:
    """Declare the method that takes an event to the instance that it is for.

    Where there is none: `not_found` of this decorator, else of the class, says whether the event is tried again (it may
    have come before the event that starts the instance), ignored, or dead-lettered.
    """
    taken = _require_events("on", events)
    return _marking(EventMark(role=Role.ON, events=taken, correlate=correlate, when_unknown=not_found))


@overload
def starts_or_on(
    a: type[A], /, *, correlate: Correlate[A] = None
) -> Callable[[Callable[[S, A], R]], Callable[[S, A], R]]: ...
@overload
def starts_or_on(
    a: type[A], b: type[B], /, *, correlate: Correlate[A | B] = None
) -> Callable[[Callable[[S, A | B], R]], Callable[[S, A | B], R]]: ...
@overload
def starts_or_on(
    a: type[A], b: type[B], c: type[C], /, *, correlate: Correlate[A | B | C] = None
) -> Callable[[Callable[[S, A | B | C], R]], Callable[[S, A | B | C], R]]: ...
@overload
def starts_or_on(
    a: type[Event],
    b: type[Event],
    c: type[Event],
    d: type[Event],
    /,
    *events: type[Event],
    correlate: Correlate[Any] = None,
) -> Callable[[Callable[..., R]], Callable[..., R]]: ...
def starts_or_on(*events: type[Any], correlate: Correlate[Any] = None) -> Any:
    """Declare the method that takes an event to its instance, and makes that instance where there is none."""
    taken = _require_events("starts_or_on", events)
    return _marking(EventMark(role=Role.STARTS_OR_ON, events=taken, correlate=correlate))


@overload
def not_found(a: type[A], /) -> Callable[[Callable[[S, A], R]], Callable[[S, A], R]]: ...
@overload
def not_found(a: type[A], b: type[B], /) -> Callable[[Callable[[S, A | B], R]], Callable[[S, A | B], R]]: ...
@overload
def not_found(
    a: type[A], b: type[B], c: type[C], /
) -> Callable[[Callable[[S, A | B | C], R]], Callable[[S, A | B | C], R]]: ...
@overload
def not_found(
    a: type[Event], b: type[Event], c: type[Event], d: type[Event], /, *events: type[Event]
) -> Callable[[Callable[..., R]], Callable[..., R]]: ...
def not_found(*events: type[Any]) -> Any:
    """Declare the method for an event whose instance does not exist, or has ended. It can only publish."""
    return _marking(EventMark(role=Role.NOT_FOUND, events=_require_events("not_found", events)))


def on_timeout(name: str, /) -> Callable[[Callable[[S], R]], Callable[[S], R]]:
    """Declare the method that runs when the timeout of this name is due; it takes nothing but `self`."""
    if not name or callable(name):
        raise ContractError(f"@on_timeout({name!r}): give the timeout a name, as in @on_timeout('payment').")
    return _marking(TimeoutMark(name=name))


def marks_of(member: object) -> tuple[Mark, ...]:
    """Return what decorators said of a member of a class."""
    found: tuple[Mark, ...] = getattr(member, MARKS, ())
    return found


def _marking(mark: Mark) -> Callable[[Any], Any]:
    def decorate(method: Any) -> Any:
        setattr(method, MARKS, (*marks_of(method), mark))
        return method

    return decorate


def _require_events(decorator: str, events: tuple[Any, ...]) -> tuple[type[Any], ...]:
    if not events or (len(events) == 1 and isinstance(events[0], FunctionType)):
        shown = f" on {events[0].__qualname__}" if events else ""
        raise ContractError(f"@{decorator}{shown} names no event. Write @{decorator}(OrderPlaced).")
    for cls in events:
        shown = f"@{decorator}({getattr(cls, '__qualname__', cls)})"
        if not isinstance(cls, type):
            raise ContractError(f"{shown}: give the class of an event.")
        try:
            contract = known_events.contract_of(cls)
        except NotAnEvent as exc:
            raise ContractError(f"{shown}: {exc}") from exc
        if contract.dispatch in {Dispatch.INLINE, Dispatch.ON_COMMIT}:
            raise ContractError(
                f"{shown}: handlers of this domain event run inside publish(), where a saga could neither wait nor try "
                "again. Declare the event with dispatch='queued'."
            )
    return events
