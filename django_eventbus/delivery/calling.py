"""What does a handler's function get, and which events does it want published?"""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import Model

from django_eventbus.models.state import lock_state, save_state

from .cascades import events_in
from .handler import Handler
from .state import StateRow


def call_handler(handler: Handler, arguments: tuple[Any, ...], *, using: str) -> list[Any]:
    """Call a handler's function, with its state row where it has one; return the events that it returned."""
    if handler.state is None:
        return events_in(handler.function(*arguments), of=handler.name)
    event, *more = arguments
    row = _lock(handler.state, event, using=using)
    made = events_in(handler.function(event, row, *more), of=handler.name)  # a generator runs here
    save_state(row, using=using)
    return made


async def acall_handler(handler: Handler, arguments: tuple[Any, ...], *, using: str) -> list[Any]:
    """Do what `call_handler` does for an async handler."""
    if handler.state is None:
        return events_in(await handler.function(*arguments), of=handler.name)
    event, *more = arguments
    row = await sync_to_async(_lock)(handler.state, event, using=using)
    made = events_in(await handler.function(event, row, *more), of=handler.name)
    await sync_to_async(save_state)(row, using=using)
    return made


def _lock(state: StateRow, event: object, *, using: str) -> Model:
    return lock_state(state.model, field=state.field.attname, value=state.key_of(event), using=using)
