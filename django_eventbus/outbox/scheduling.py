"""When is an event due, and how is one that waits called back or put off?"""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import connections

from django_eventbus.conf import BusConfig
from django_eventbus.exceptions import EventInvalid
from django_eventbus.models import ScheduledMessage
from django_eventbus.models.control import bus_number

from .transactions import alias_of, require_transaction
from .wakeup import wake_after_commit

MOST_BEHIND = timedelta(days=1)  # a moment that has passed while the code ran, or another clock's; older is a mistake
MOST_AHEAD = timedelta(days=3660)  # more is a mistake too: a point in time taken for a delay, milliseconds for seconds


def due_at_of(*, delay: timedelta | float | None, deliver_at: datetime | None) -> datetime | None:
    """Return when an event is to be sent, or None for at once; raise EventInvalid where it cannot be meant."""
    if delay is None and deliver_at is None:
        return None
    now = datetime.now(UTC)
    due_at = None if deliver_at is None else _moment(deliver_at, now=now)
    if delay is not None:
        if due_at is not None:
            raise EventInvalid("delay and deliver_at were both given. Give the one that you mean.")
        due_at = now + _duration(delay)
    return None if due_at is None or due_at <= now else due_at


def cancel(config: BusConfig, event_id: UUID, *, using: str | None = None) -> bool:
    """Call back an event that waits for its time; return False if it is already on its way, or never waited.

    Must run inside atomic on the bus's database, unless its REQUIRE_ATOMIC is off: a rollback lets the event wait on.
    """
    alias = _writable_alias(config, using, "cancel")
    rows = ScheduledMessage.objects.using(alias)
    return rows.cancel(_identity(event_id), buses=_buses(config, alias))


def reschedule(config: BusConfig, event_id: UUID, *, deliver_at: datetime, using: str | None = None) -> bool:
    """Give an event that waits another time; return False if it is already on its way, or never waited.

    A time that has passed means at once. Must run inside atomic as `cancel` must.
    """
    now = datetime.now(UTC)
    due_at = max(now, _moment(deliver_at, now=now))
    alias = _writable_alias(config, using, "reschedule")
    rows = ScheduledMessage.objects.using(alias)
    is_waiting = rows.reschedule(_identity(event_id), buses=_buses(config, alias), due_at=due_at)
    if is_waiting:
        for queue in config.queues:
            wake_after_commit(queue, alias)
    return is_waiting


def _duration(delay: timedelta | float) -> timedelta:
    if isinstance(delay, int) and not isinstance(delay, bool):
        seconds: float = delay  # of any size: compared below, never converted before
    elif isinstance(delay, float) and math.isfinite(delay):
        seconds = delay
    elif isinstance(delay, timedelta):
        seconds = delay.total_seconds()
    else:
        raise EventInvalid(f"delay={delay!r} is no duration. Give a timedelta or a number of seconds.")
    if seconds < 0:
        raise EventInvalid(f"delay={delay!r} is negative. Leave it out to send at once.")
    if seconds > MOST_AHEAD.total_seconds():
        raise EventInvalid(f"delay={delay!r} is more than ten years. It is a duration: a timedelta, or seconds.")
    return timedelta(seconds=seconds)


def _moment(deliver_at: datetime, *, now: datetime) -> datetime:
    if not isinstance(deliver_at, datetime):
        raise EventInvalid(f"deliver_at={deliver_at!r} is no datetime. For a duration, give delay instead.")
    if deliver_at.utcoffset() is None:
        raise EventInvalid(
            f"deliver_at={deliver_at!r} has no time zone, so it names no moment. Use django.utils.timezone.now() + "
            "timedelta(...), or timezone.make_aware()."
        )
    if deliver_at < now - MOST_BEHIND:
        raise EventInvalid(f"deliver_at={deliver_at.isoformat()} is more than a day ago. Leave it out to send at once.")
    if deliver_at > now + MOST_AHEAD:
        raise EventInvalid(f"deliver_at={deliver_at.isoformat()} is more than ten years ahead.")
    return deliver_at.astimezone(UTC)


def _identity(event_id: UUID) -> UUID:
    if not isinstance(event_id, UUID):
        raise EventInvalid(f"event_id={event_id!r} is no uuid.UUID. Give the id that publish() returned.")
    return event_id


def _writable_alias(config: BusConfig, using: str | None, verb: str) -> str:
    alias = alias_of(config, using)
    require_transaction(config, connections[alias], verb=verb)
    return alias


def _buses(config: BusConfig, alias: str) -> Collection[int]:
    return [bus_number(queue.alias, alias) for queue in config.queues]
