"""What becomes of a record before any handler runs, and what may become of a delivery after?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from msgspec import Struct

from django_eventbus.events.envelope import Envelope
from django_eventbus.exceptions import EventBusError
from django_eventbus.models.dead_letter import DeadLetterReason
from django_eventbus.transports.base import Record

from .handler import Handler


class Outcome(Enum):
    """Say how one delivery ended."""

    HANDLED = "handled"
    DUPLICATE = "duplicate"  # the inbox knew it
    IGNORED = "ignored"  # nobody here takes it
    RETRY = "retry"  # a row in eventbus_retry
    DEAD_LETTERED = "dead_lettered"


class SkipReason(Enum):
    """Say why no handler sees a record."""

    TOMBSTONE = "tombstone"
    UNKNOWN_EVENT = "unknown_event"  # another event type of a subscribed topic
    EXCLUDED_VERSION = "excluded_version"  # `versions=` of every handler leaves it out
    NO_LONGER_HANDLED = "no_longer_handled"  # a waiting delivery whose handler has dropped the event, or is gone


# Structs, as the envelope: made for every message.
class Delivery(Struct, frozen=True, kw_only=True, eq=False):
    """Be one message on its way into one handler."""

    record: Record
    envelope: Envelope
    handler: Handler
    group: str
    event: object | None  # None where `error` says why there is none
    error: Exception | None = None  # raised by running it: this handler's class, or dedupe_key, refuses the message
    inbox_keys: tuple[UUID, ...]  # of the current name first, then of every former one
    lane: UUID  # deliveries of one lane run in order
    attempt: int = 1
    is_replay: bool = False

    @property
    def inbox_key(self) -> UUID:
        """Return the key that a retry row or a dead letter of this delivery has."""
        return self.inbox_keys[0]


class Received(Struct, frozen=True, kw_only=True):
    """Be a readable record with everything that is to be run for it."""

    record: Record
    envelope: Envelope
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Be a record that concerns no handler; it is counted."""

    record: Record
    envelope: Envelope | None  # None for a tombstone
    why: SkipReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """Be a record that no handler can get; it becomes one dead letter of the group."""

    record: Record
    envelope: Envelope | None  # None where not even that could be read
    error: EventBusError
    reason: DeadLetterReason
    inbox_key: UUID  # made of the record's place; also its lane


def saga_key_of(delivery: Delivery) -> str:
    """Return the key of the saga's instance that a delivery is for; empty where it is for none, or does not say."""
    key_of = delivery.handler.saga_key
    if key_of is None or delivery.event is None:
        return ""
    try:
        return key_of(delivery.event)
    # The boundary to the project's own correlation: its error belongs to the run of this delivery, which raises it.
    except Exception:  # noqa: BLE001
        return ""
