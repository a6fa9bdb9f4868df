"""How does an event become a row that commits, or rolls back, with the change that it tells of?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypedDict, Unpack
from uuid import UUID

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_eventbus.conf import BusConfig
from django_eventbus.events.envelope import Envelope
from django_eventbus.exceptions import EventInvalid
from django_eventbus.models import OutboxMessage
from django_eventbus.models.control import bus_number
from django_eventbus.models.outbox import NewMessage, OutboxQuerySet
from django_eventbus.signals import emit, event_published

from .composition import Composer
from .transactions import alias_of, is_in_transaction, refuse_split, require_transaction
from .wakeup import wake


class PublishOptions(TypedDict, total=False):
    """What a publish takes besides events."""

    key: object  # instead of the event's own: text, any value that has a JSON text, or a tuple of them
    headers: Mapping[str, str] | None  # travel beside the event, above those of the context
    event_id: UUID | None  # instead of a new one; for one event
    using: str | None  # database alias; the bus's DATABASE is the only one that its relay reads


def publish(
    config: BusConfig,
    events: Sequence[object],
    *,
    key: object = None,
    headers: Mapping[str, str] | None = None,
    event_id: UUID | None = None,
    using: str | None = None,
) -> list[UUID]:
    """Write events, in their order, into the outbox with one INSERT; return their ids.

    Must run inside atomic on the bus's database, unless its REQUIRE_ATOMIC is off. All events are validated and
    serialised first: after an error nothing is written and the caller's transaction is usable. Raises
    TransactionRequired, NotAnEvent, NotPublishable, EventInvalid or EventTooLarge.
    """
    connection = connections[alias_of(config, using)]
    require_transaction(config, connection)
    if not events:
        return []
    if event_id is not None and not isinstance(event_id, UUID):
        raise EventInvalid(f"event_id={event_id!r} is no uuid.UUID. Leave it out, and one is made.")
    if event_id is not None and len(events) > 1:
        raise EventInvalid(f"event_id names one event, but {len(events)} are published. Leave it out.")
    composer = Composer(config, bus=bus_number(config.alias, connection.alias), key=key, headers=headers)
    made = list(map(partial(composer.compose, event_id=event_id), events))
    return _write(config, connection, events, made)


def publish_in_own_transaction(
    config: BusConfig, events: Sequence[object], **options: Unpack[PublishOptions]
) -> list[UUID]:
    """Publish in the open transaction if there is one, else in one of its own: `apublish` outside a handler."""
    alias = alias_of(config, options.get("using"))
    if is_in_transaction(connections[alias]):
        return publish(config, events, **options)
    refuse_split(alias)
    with transaction.atomic(using=alias):
        return publish(config, events, **options)


def _write(
    config: BusConfig,
    connection: BaseDatabaseWrapper,
    events: Sequence[object],
    made: Sequence[tuple[NewMessage, Envelope | None]],
) -> list[UUID]:
    alias = connection.alias
    OutboxQuerySet(OutboxMessage, using=alias).append([message for message, _ in made])
    for event, (_, envelope) in zip(events, made, strict=True):
        if envelope is not None:
            emit(event_published, type(event), event=event, envelope=envelope, bus=config.alias, using=alias)
    # Registered by every publish: one shared registration would be lost with a savepoint that rolls back. Under
    # set_autocommit(False) there is no hook to register: polling finds the rows.
    if connection.in_atomic_block or connection.get_autocommit():
        connection.on_commit(_waker(config, alias), robust=True)
    return [message.event_id for message, _ in made]


def _waker(config: BusConfig, alias: str) -> Callable[[], None]:
    def wake_relay() -> None:
        wake(config, alias)

    return wake_relay
