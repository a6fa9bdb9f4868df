"""What becomes of each class of events, by what the decorators of all methods say together?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, get_args

from django_eventbus.exceptions import ContractError

from .correlation import CorrelationDeclaration, correlate
from .declaration import Route, WhenUnknown
from .routing import EventMark, Role

Marked = tuple[str, EventMark]  # method, and what one of its decorators says

PARTS = {
    Role.STARTS: ("starts",),
    Role.ON: ("continues",),
    Role.STARTS_OR_ON: ("starts", "continues"),
    Role.NOT_FOUND: ("unmatched",),
}


def read_routes(
    cls: type[Any], marked: Iterable[Marked], *, default: CorrelationDeclaration, when_unknown: WhenUnknown
) -> dict[type[Any], Route]:
    """Return the route of each event, in order of declaration; raise ContractError where decorators contradict."""
    by_event: dict[type[Any], list[Marked]] = defaultdict(list)
    for method, mark in marked:
        for event in mark.events:
            by_event[event].append((method, mark))
    routes = {event: _route(cls, event, found, default, when_unknown) for event, found in by_event.items()}
    if not any(route.starts for route in routes.values()):
        raise ContractError(f"{cls.__qualname__}: no event starts it. Put @starts(OrderPlaced) above a method.")
    return routes


def _route(
    cls: type[Any],
    event: type[Any],
    marked: list[Marked],
    default: CorrelationDeclaration,
    when_unknown: WhenUnknown,
) -> Route:
    methods = _methods(cls, event, marked)
    if methods.keys() == {"unmatched"}:
        raise ContractError(
            f"{cls.__qualname__}: @not_found({event.__name__}) on {methods['unmatched']} would never run, as no method "
            "takes the event. Put @on above one."
        )
    own = _only(cls, event, "correlate", [mark.correlate for _, mark in marked])
    unknown = _only(cls, event, "not_found", [mark.when_unknown for _, mark in marked])
    if unknown is not None and unknown not in get_args(WhenUnknown):
        known = ", ".join(map(repr, get_args(WhenUnknown)))
        raise ContractError(f"{cls.__qualname__}: @on({event.__name__}, not_found={unknown!r}); give one of {known}.")
    return Route(
        event=event,
        correlation=correlate(event, cls.__name__, own, default),
        when_unknown=unknown or when_unknown,
        **methods,
    )


def _methods(cls: type[Any], event: type[Any], marked: list[Marked]) -> dict[str, str]:
    methods: dict[str, str] = {}
    for method, mark in marked:
        for part in PARTS[mark.role]:
            if methods.setdefault(part, method) != method:
                raise ContractError(
                    f"{cls.__qualname__}: {event.__name__} is taken by {methods[part]} and by {method} "
                    f"(@{mark.role.value}). Keep one."
                )
    return methods


def _only(cls: type[Any], event: type[Any], option: str, given: Iterable[Any]) -> Any:
    said = [each for each in given if each is not None]
    if any(each != said[0] for each in said):
        raise ContractError(f"{cls.__qualname__}: {event.__name__} has two different {option}=. Keep one.")
    return said[0] if said else None
