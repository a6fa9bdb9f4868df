"""What is done beside the way of events, and killed: what recurs, is changed by callers and operators, is forgotten?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import transaction

from django_eventbus.bus import buses, cancel, reschedule
from django_eventbus.models import SagaState, ScheduledMessage
from django_eventbus.models.control import bus_number
from django_eventbus.models.purging import purge_archive, purge_dead_letters, purge_inbox, purge_sagas
from django_eventbus.outbox.waiting import call_back, deliver_now
from django_eventbus.recurrence.registry import Recurring
from django_eventbus.recurrence.runner import RecurringRunner
from django_eventbus.recurrence.schedule import IntervalSchedule
from django_eventbus.sagas.operations import compensate, fire_timeout
from tests.proof.sweep.acts import COMMAND
from tests.proof.sweep.events import Stepped
from tests.proof.sweep.models import Published
from tests.proof.sweep.scenario import Scenario

UNWANTED = "unwanted"  # key of what is called back
FEW = 3  # rows that a purge takes at once


def recur(scenario: Scenario) -> None:
    """Publish every occurrence that is due."""
    runner = RecurringRunner(buses["default"].config, [TICK])
    while runner.run_due() == 0.0:
        pass


def tick(at: datetime) -> Stepped:
    number = OCCURRENCES - (datetime.now(UTC).date() - at.date()).days
    Published.objects.create(event_id=f"tick {at}", event="Stepped", key="tick", number=number)
    return Stepped(key="tick", number=number)


def reconsider(scenario: Scenario) -> None:
    """Call back one event that waits, and let the others come now: each with a change of its own in one transaction."""
    for row in Published.objects.order_by("id"):
        with transaction.atomic():
            if row.key != UNWANTED:
                reschedule(UUID(row.event_id), deliver_at=datetime.now(UTC))
            elif cancel(UUID(row.event_id)):
                row.delete()


def hasten(scenario: Scenario) -> None:
    """Do the same as an operator does it, under one command id."""
    unwanted = set(Published.objects.filter(key=UNWANTED).values_list("event_id", flat=True))
    waiting = dict(ScheduledMessage.objects.order_by("id").values_list("id", "event_id"))
    gone = [number for number, event_id in waiting.items() if str(event_id) in unwanted]
    call_back(gone, actor="op", using="default", command_id=COMMAND)
    Published.objects.filter(key=UNWANTED).delete()
    rest = [number for number in waiting if number not in gone]
    deliver_now(rest, actor="op", using="default", command_id=COMMAND)


def undo(scenario: Scenario) -> None:
    """Have a saga compensated by an operator."""
    compensate(_instances(), actor="op", using="default", command_id=COMMAND)


def fire(scenario: Scenario) -> None:
    """Have a saga's timeout come before its time."""
    for number in _instances():
        fire_timeout(number, "late", actor="op", using="default", command_id=COMMAND)


def purge(scenario: Scenario) -> None:
    """Forget all that may be forgotten, few rows at a time; what has no verdict stays."""
    before = datetime.now(UTC) + timedelta(days=1)
    for chunks in (
        purge_inbox("default", before=before, chunk=FEW),
        purge_archive("default", bus=bus_number("default", "default"), before=before, chunk=FEW),
        purge_dead_letters("default", bus="default", before=before, chunk=FEW),
        purge_sagas("default", bus="default", before=before, chunk=FEW),
    ):
        for _ in chunks:
            pass


def _instances() -> list[int]:
    return list(SagaState.objects.order_by("id").values_list("id", flat=True))


OCCURRENCES = 3
TICK = Recurring(
    name="sweep.tick",
    function=tick,
    schedule=IntervalSchedule(every=timedelta(days=1)),
    missed="all",
    bus="default",
    takes_moment=True,
)
