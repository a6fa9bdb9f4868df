"""The events of the conformance suite, and handlers that write down what they see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django_eventbus import MessageContext, event, handler
from tests.shop.models import Effect


@event("tests.conformance.counted", topic="counts", key="key")
class Counted:
    key: str
    number: int
    note: str = ""


@event("tests.conformance.doubled", topic="doubles", key="key")
class Doubled:
    key: str
    number: int


@event("tests.conformance.unheard", topic="counts", key="key")
class Unheard:
    """Travels on a topic that handlers read, and none of them takes it."""

    key: str


def noting(
    name: str,
    *events: type[Any],
    then: Callable[[Any, MessageContext], object] = lambda event, context: None,
    **options: Any,
) -> None:
    """Declare a handler that writes down each event, then does what `then` does, and returns what that returns."""

    def function(event: Any, context: MessageContext) -> Any:
        Effect.objects.create(handler=name, key=event.key, number=event.number)
        return then(event, context)

    handler(*(events or (Counted,)), name=name, **options)(function)


def noted(name: str, key: str | None = None) -> list[int]:
    """Return the numbers that a handler wrote down, in the order of its commits."""
    rows = Effect.objects.filter(handler=name).order_by("id")
    return list((rows if key is None else rows.filter(key=key)).values_list("number", flat=True))
