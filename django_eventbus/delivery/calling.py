"""What does a handler's function get, and which events does it want published?"""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async

from .cascades import events_in
from .handler import Handler


def call_handler(handler: Handler, arguments: tuple[Any, ...], *, using: str) -> list[Any]:
    """Call a handler's function, with its state row where it has one; return the events that it returned."""
    if handler.state is None:
        return events_in(handler.function(*arguments), of=handler.name)
    event, *more = arguments
    row = handler.state.lock(event, using=using)
    made = events_in(handler.function(event, row, *more), of=handler.name)  # a generator runs here
    handler.state.save(row, using=using)
    return made


async def acall_handler(handler: Handler, arguments: tuple[Any, ...], *, using: str) -> list[Any]:
    """Do what `call_handler` does for an async handler."""
    if handler.state is None:
        return events_in(await handler.function(*arguments), of=handler.name)
    event, *more = arguments
    row = await sync_to_async(handler.state.lock)(event, using=using)
    made = events_in(await handler.function(event, row, *more), of=handler.name)
    await sync_to_async(handler.state.save)(row, using=using)
    return made
