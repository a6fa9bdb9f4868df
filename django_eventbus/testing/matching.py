"""Is the expected event among those that were published, and if not, what was there instead?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, TypeVar

from django_eventbus.events.registry import events

from .published import PublishedEvent

E = TypeVar("E")
Fields = Mapping[str, Any]

MOST_LINES = 50


def require(
    event_class: type[E], expected: Fields, published: Sequence[PublishedEvent], *, count: int | None
) -> list[E]:
    """Return the events that are as expected; raise AssertionError unless there is one, or exactly `count`."""
    _require_fields(event_class, expected)
    found = matching(event_class, expected, published)
    if found if count is None else len(found) == count:
        return found
    often = "not published" if count is None else f"published {_times(len(found))}, not {_times(count)}"
    raise AssertionError(_failure(f"{_shown(event_class, expected)} was {often}.", event_class, expected, published))


def refuse(event_class: type[Any] | None, expected: Fields, published: Sequence[PublishedEvent]) -> None:
    """Raise AssertionError where an event is as described, or where there is any at all."""
    if event_class is None:
        if expected:
            raise TypeError("Name the event whose fields these are: assert_not_published(OrderPlaced, order_id=7).")
        found: list[Any] = [each.event for each in published if not each.is_rolled_back]
        shown = "an event"
    else:
        _require_fields(event_class, expected)
        found = matching(event_class, expected, published)
        shown = _shown(event_class, expected)
    if found:
        raise AssertionError(f"{shown} was published {_times(len(found))}.\n{_listing(published)}")


def matching(event_class: type[E], expected: Fields, published: Sequence[PublishedEvent]) -> list[E]:
    """Return the events of exactly this class whose fields are as expected; what was rolled back doesn't count."""
    return [
        each.event
        for each in published
        if type(each.event) is event_class and not each.is_rolled_back and not _differences(each.event, expected)
    ]


def _require_fields(event_class: type[Any], expected: Fields) -> None:
    events.contract_of(event_class)
    known = [field.name for field in fields(event_class)]
    for name in expected:
        if name not in known:
            likely = get_close_matches(name, known, n=1)
            hint = f" Did you mean {likely[0]!r}?" if likely else f" It has {', '.join(known)}."
            raise TypeError(f"{event_class.__qualname__} has no field {name!r}.{hint}")


def _failure(what: str, event_class: type[Any], expected: Fields, published: Sequence[PublishedEvent]) -> str:
    near = [_nearly(each.event, expected) for each in published if type(each.event) is event_class]
    return "\n".join([what, *dict.fromkeys(line for line in near if line), _listing(published)])


def _nearly(event: object, expected: Fields) -> str:
    differences = _differences(event, expected)
    if not differences:
        return ""
    told = ", ".join(f"{name} is {getattr(event, name)!r}, not {value!r}" for name, value in differences.items())
    return f"One {type(event).__qualname__} differs: {told}."


def _differences(event: object, expected: Fields) -> Fields:
    return {name: value for name, value in expected.items() if getattr(event, name) != value}


def _listing(published: Sequence[PublishedEvent]) -> str:
    if not published:
        return "Nothing was published. (Outside of captured_events(), only what still waits in the outbox counts.)"
    lines = [f"  {number}. {each}" for number, each in enumerate(published[:MOST_LINES], start=1)]
    if len(published) > MOST_LINES:
        lines.append(f"  ... and {len(published) - MOST_LINES} more")
    return "\n".join(["Published:", *lines])


def _shown(event_class: type[Any], expected: Fields) -> str:
    return f"{event_class.__qualname__}({', '.join(f'{name}={value!r}' for name, value in expected.items())})"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
