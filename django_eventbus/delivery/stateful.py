"""How is a function declared that handles events with the row of their key?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import FunctionType
from typing import Any, Protocol, TypeVar, Unpack, overload

from django.db.models import Model

from django_eventbus.exceptions import ContractError

from .context import MessageContext
from .registry import Event, Options, Published, declare, handlers, require_events
from .state import StateKey, declare_state

A = TypeVar("A", bound=Event)
B = TypeVar("B", bound=Event)
C = TypeVar("C", bound=Event)
E = TypeVar("E")
M = TypeVar("M", bound=Model)
R = TypeVar("R", bound=Published | Awaitable[Published])


class HandlesWithState(Protocol[E, M]):
    """Decorate a function that takes an event and the row of its key; the function stays what it is."""

    @overload
    def __call__(self, function: Callable[[E, M], R], /) -> Callable[[E, M], R]: ...
    @overload
    def __call__(self, function: Callable[[E, M, MessageContext], R], /) -> Callable[[E, M, MessageContext], R]: ...


@overload
def stateful_handler(
    a: type[A], /, *, key: StateKey, state: type[M], state_key: str | None = None, **options: Unpack[Options]
) -> HandlesWithState[A, M]: ...
@overload
def stateful_handler(
    a: type[A],
    b: type[B],
    /,
    *,
    key: StateKey,
    state: type[M],
    state_key: str | None = None,
    **options: Unpack[Options],
) -> HandlesWithState[A | B, M]: ...
@overload
def stateful_handler(
    a: type[A],
    b: type[B],
    c: type[C],
    /,
    *,
    key: StateKey,
    state: type[M],
    state_key: str | None = None,
    **options: Unpack[Options],
) -> HandlesWithState[A | B | C, M]: ...
@overload
def stateful_handler(
    *events: type[Event],
    key: StateKey,
    state: type[Model],
    state_key: str | None = None,
    **options: Unpack[Options],
) -> Callable[[Callable[..., R]], Callable[..., R]]: ...
def stateful_handler(
    *events: type[Any], key: Any, state: type[Model], state_key: str | None = None, **options: Unpack[Options]
) -> Any:
    """Declare a function that handles events with the row of their key, as `(event, row)` or `(event, row, context)`.

    `state` is a model of the project. The row whose `state_key` (a unique field; else the primary key) has the value
    of the event's `key` is locked before the function runs, made where there is none, and saved when it returns: each
    key has one writer at a time. Raises ContractError as `@handler` does.
    """
    if len(events) == 1 and isinstance(events[0], FunctionType):
        raise ContractError(f"@stateful_handler on {events[0].__qualname__} names no event. Give its class first.")

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        shown = getattr(function, "__qualname__", repr(function))
        if not options.get("atomic", True):
            raise ContractError(f"{shown}: atomic=False would leave its row unlocked. Leave it out.")
        require_events(shown, events, decorator="stateful_handler")
        row = declare_state(shown, events, key=key, model=state, field=state_key)
        handlers.register(declare(function, events, None, options, state=row))
        return function

    return decorate
