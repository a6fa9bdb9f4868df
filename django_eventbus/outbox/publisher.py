"""How does an event become a row that commits, or rolls back, with the change that it tells of?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypedDict, Unpack
from uuid import UUID

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_eventbus.conf import BusConfig
from django_eventbus.events.envelope import Envelope
from django_eventbus.exceptions import EventInvalid
from django_eventbus.models import OutboxMessage, ScheduledMessage
from django_eventbus.models.control import bus_number
from django_eventbus.models.outbox import NewMessage, OutboxQuerySet
from django_eventbus.models.scheduled import ScheduledQuerySet
from django_eventbus.signals import emit, event_published

from .composition import Composer
from .scheduling import due_at_of
from .transactions import alias_of, require_transaction
from .wakeup import wake_after_commit


class PublishOptions(TypedDict, total=False):
    """What a publish takes besides events."""

    key: object  # instead of the event's own: text, any value that has a JSON text, or a tuple of them
    headers: Mapping[str, str] | None  # travel beside the event, above those of the context
    event_id: UUID | None  # instead of a new one; for one event
    delay: timedelta | float | None  # wait for this long, in seconds where it is a number
    deliver_at: datetime | None  # wait until then; with a time zone
    using: str | None  # database alias; the bus's DATABASE is the only one that its relay reads


def publish(config: BusConfig, events: Sequence[object], **options: Unpack[PublishOptions]) -> list[UUID]:
    """Write events, in their order, into the outbox with one INSERT, or aside until they are due; return their ids.

    Must run inside atomic on the bus's database, unless its REQUIRE_ATOMIC is off. All events are validated and
    serialised first: after an error nothing is written and the caller's transaction is usable. Raises
    TransactionRequired, NotAnEvent, NotPublishable, EventInvalid or EventTooLarge.
    """
    connection = connections[alias_of(config, options.get("using"))]
    require_transaction(config, connection)
    if not events:
        return []
    event_id = options.get("event_id")
    require_event_id(event_id, events)
    due_at = due_at_of(delay=options.get("delay"), deliver_at=options.get("deliver_at"))
    number = bus_number(config.alias, connection.alias)
    composer = Composer(config, bus=number, key=options.get("key"), headers=options.get("headers"))
    made = list(map(partial(composer.compose, event_id=event_id), events))
    return _write(config, connection, events, made, due_at=due_at)


def require_event_id(event_id: object, events: Sequence[object]) -> None:
    """Raise EventInvalid for an `event_id` that is none, or that names several events."""
    if event_id is not None and not isinstance(event_id, UUID):
        raise EventInvalid(f"event_id={event_id!r} is no uuid.UUID. Leave it out, and one is made.")
    if event_id is not None and len(events) > 1:
        raise EventInvalid(f"event_id names one event, but {len(events)} are published. Leave it out.")


def _write(
    config: BusConfig,
    connection: BaseDatabaseWrapper,
    events: Sequence[object],
    made: Sequence[tuple[NewMessage, Envelope | None]],
    *,
    due_at: datetime | None,
) -> list[UUID]:
    alias = connection.alias
    places: dict[str, Any] = {"bus": config.alias, "using": alias, "due_at": due_at}
    messages = [message for message, _ in made]
    if due_at is None:
        OutboxQuerySet(OutboxMessage, using=alias).append(messages)
    else:
        ScheduledQuerySet(ScheduledMessage, using=alias).append(messages, due_at=due_at)
    for event, (_, envelope) in zip(events, made, strict=True):
        if envelope is not None:
            emit(event_published, type(event), event=event, envelope=envelope, **places)
    wake_after_commit(config, alias)
    return [message.event_id for message, _ in made]
