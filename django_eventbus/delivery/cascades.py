"""Which events does a function want published, by what it returns?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django_eventbus.events.registry import events
from django_eventbus.exceptions import NotAnEvent


def events_in(returned: object, *, of: str) -> list[Any]:
    """Return the events in what a function returned: an event, several in a list, tuple or generator, or None.

    They may be nested, and None among them stands for nothing. A generator runs here. Raises NotAnEvent for anything
    else; `of` names the function.
    """
    return list(_events_in(returned, of))


def _events_in(returned: object, of: str) -> Iterator[Any]:
    if returned is None:
        return
    if isinstance(returned, list | tuple | Iterator):
        for part in returned:
            yield from _events_in(part, of)
    elif _is_event(returned):
        yield returned
    else:
        raise NotAnEvent(
            f"{of} returned {_told(returned)}, which is no event. Return an event, a list, tuple or generator of "
            "events, or None."
        )


def _is_event(value: object) -> bool:
    if isinstance(value, type):
        return False
    try:
        events.contract_of(value)
    except NotAnEvent:
        return False
    return True


def _told(value: object) -> str:
    return f"the class {value.__qualname__}" if isinstance(value, type) else type(value).__name__
