"""How does an operator hold a recurring event back, let it go on, or have it happen now?

Who may do it is the caller's business; what was done, by whom and why is written down here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID, uuid4

from django.db import transaction

from django_eventbus.conf import BusConfig
from django_eventbus.exceptions import EventBusError
from django_eventbus.models import OperatorAction
from django_eventbus.models.operator_action import OperatorActionKind
from django_eventbus.models.recurring import RecurringEvent

from .publishing import publish_occurrence
from .registry import Recurring, recurrings
from .runner import utc_now


class NotRecurring(EventBusError):
    """Nothing of this name recurs here any more, or the same request was carried out before."""


def target_of(name: str, *, bus: str) -> str:
    """Name a recurring event in the records of what operators did."""
    return f"recurring {name} on {bus}"


def pause(pk: int, *, using: str, actor: str, reason: str = "", command_id: UUID | None = None) -> None:
    """Let no occurrence happen until `resume`; raise NotRecurring."""
    with _acting(OperatorActionKind.PAUSE, pk, using, actor, reason, command_id) as row:
        row.pause()


def resume(pk: int, *, using: str, actor: str, reason: str = "", command_id: UUID | None = None) -> None:
    """Go on with the next occurrence to come: those that fell into the pause do not happen. Raise NotRecurring."""
    with _acting(OperatorActionKind.RESUME, pk, using, actor, reason, command_id) as row:
        row.resume(next_at=_declared(row).schedule.after(utc_now()))


def run_now(
    pk: int,
    config: BusConfig,
    *,
    actor: str,
    reason: str = "",
    command_id: UUID | None = None,
    at: datetime | None = None,
) -> list[UUID]:
    """Publish an occurrence of its own for this moment, here and not in a relay; return the ids of its events.

    What is planned stays planned, and a pause stays one. Raises NotRecurring, and what the function raises.
    """
    with _acting(OperatorActionKind.RUN_NOW, pk, config.database, actor, reason, command_id) as row:
        return publish_occurrence(config, _declared(row), at=at or utc_now())


@contextmanager
def _acting(
    kind: OperatorActionKind, pk: int, using: str, actor: str, reason: str, command_id: UUID | None
) -> Iterator[RecurringEvent]:
    with transaction.atomic(using=using):
        row = RecurringEvent.objects.using(using).lock(pk)
        if row is None:
            raise NotRecurring(f"There is no recurring event {pk}.")
        target = target_of(row.name, bus=row.bus)
        acts = OperatorAction.objects.using(using)
        if not acts.record_on(target, kind, command_id=command_id or uuid4(), actor=actor, reason=reason):
            raise NotRecurring("This very request was carried out before.")
        yield row


def _declared(row: RecurringEvent) -> Recurring:
    found = recurrings.find(row.name)
    if found is None or found.bus != row.bus:
        raise NotRecurring(f"{row.name} is no longer declared on bus {row.bus!r}.")
    return found
