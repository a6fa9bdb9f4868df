"""What does a test see of an event that was published?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connections
from django.test.testcases import DatabaseOperationForbidden  # type: ignore[attr-defined]

from django_eventbus.bus import Bus, buses
from django_eventbus.events.cloudevents import from_record
from django_eventbus.events.envelope import Envelope
from django_eventbus.events.registry import events
from django_eventbus.models import ControlFlag, OutboxMessage, ScheduledMessage
from django_eventbus.outbox.fate import Fate
from django_eventbus.transports.local import record_of

SENDABLE = ("id", "topic", "key", "headers", "payload")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedEvent:
    """Be one event as `publish()` took it, with the envelope in which it travels."""

    event: Any
    envelope: Envelope
    bus: str  # alias in EVENTBUS
    using: str  # database alias
    due_at: datetime | None = None  # it waits, or waited, until then
    fate: Fate | None = field(default=None, repr=False, compare=False)

    @property
    def is_rolled_back(self) -> bool:
        """Say whether its transaction or savepoint was rolled back, so that it will never be sent."""
        return self.fate is not None and self.fate.is_rolled_back

    def __str__(self) -> str:
        key = (self.envelope.key or b"").decode("utf-8", "backslashreplace")
        undone = " (ROLLED BACK)" if self.is_rolled_back else ""
        waits = "" if self.due_at is None else f", due at {self.due_at.isoformat()}"
        return f"{self.event!r} to {self.envelope.topic}, key {key!r}{waits}{undone}"


def waiting_in_outbox() -> list[PublishedEvent]:
    """Return what this test's connection sees in the outboxes, in the order of publishing, then what is scheduled."""
    return [published for bus in reachable_buses() for published in _waiting(bus)]


def reachable_buses(alias: str | None = None) -> list[Bus]:
    """Return one bus, or all whose database the running test case may use."""
    if alias is not None:
        return [buses[alias]]
    return [bus for bus in buses.values() if _is_reachable(bus.config.database)]


def reachable_aliases() -> list[str]:
    """Return the databases of buses and handlers that the running test case may use."""
    return [alias for alias in buses.databases() if _is_reachable(alias)]


def _is_reachable(alias: str) -> bool:
    try:
        with connections[alias].cursor():
            return True
    except DatabaseOperationForbidden:  # not in the `databases` of the test case
        return False


def _waiting(bus: Bus) -> Iterator[PublishedEvent]:
    using = bus.config.database
    numbers = [ControlFlag.objects.using(using).bus_number(queue.alias) for queue in bus.config.queues]
    rows = OutboxMessage.objects.using(using).filter(bus__in=numbers).order_by("id")
    scheduled = ScheduledMessage.objects.using(using).filter(bus__in=numbers).order_by("due_at", "id")
    found = [(row, None) for row in rows.values_list(*SENDABLE)]
    found += [(row[:-1], row[-1]) for row in scheduled.values_list(*SENDABLE, "due_at")]
    for row, due_at in found:
        envelope = from_record(record_of(row))
        contract = events.find(envelope.event_name, envelope.event_version)
        event = envelope.data if contract is None else contract.codec.decode(envelope.data)
        yield PublishedEvent(event=event, envelope=envelope, bus=bus.config.alias, using=using, due_at=due_at)
