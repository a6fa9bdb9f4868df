"""How does a message get to a handler that runs in no consumer?

Its row in `eventbus_retry` stays the token: who deletes it, in the transaction of the handler's effects, has handled
the message. A task only says which row; one that is lost or doubled costs nothing but time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import get_args
from uuid import UUID

from django_eventbus.conf import BusConfig

from .deliveries import Delivery
from .handler import SENT_AGAIN_AFTER, Handler, Place

MOST_DOUBLINGS = 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Name the row of a message that some other process has to handle."""

    place: Place
    bus: str  # alias
    group: str
    handler: str  # stored name
    using: str  # database alias of the row
    key: UUID  # of the row
    attempt: int  # a task of an earlier attempt does nothing


Courier = Callable[[Sequence[Task]], None]


def task_for(delivery: Delivery, place: Place, *, key: UUID, config: BusConfig, using: str) -> Task:
    """Return the task for a delivery that waits in the row of this key."""
    return Task(
        place=place,
        bus=config.alias,
        group=delivery.group,
        handler=delivery.handler.name,
        using=using,
        key=key,
        attempt=delivery.attempt,
    )


def patience(handler: Handler, *, sends: int) -> timedelta:
    """Return how long a task may be out before another one is sent.

    It doubles from one to the next: tasks that wait in a long queue must not make it longer and longer.
    """
    factor: int = 2 ** min(sends, MOST_DOUBLINGS)
    return (handler.timeout or SENT_AGAIN_AFTER) * factor


def register_courier(place: Place, courier: Courier) -> None:
    """Let a module further up bring what carries tasks to a place; it raises nothing, for the rows are there."""
    _couriers[place] = courier


def send(tasks: Sequence[Task]) -> None:
    """Send tasks; to be called once their rows are committed."""
    for place in get_args(Place):
        if not (own := [task for task in tasks if task.place == place]):
            continue
        if place in _couriers:
            _couriers[place](own)
        else:
            logger.error("tasks not sent place=%s count=%s: nobody carries them, see `check`", place, len(own))


@contextmanager
def carried_by(courier: Courier) -> Iterator[None]:
    """Have all tasks carried by this courier inside the block. For tests; not for several threads."""
    saved = dict(_couriers)
    _couriers.update(dict.fromkeys(get_args(Place), courier))
    try:
        yield
    finally:
        _couriers.clear()
        _couriers.update(saved)


_couriers: dict[Place, Courier] = {}
