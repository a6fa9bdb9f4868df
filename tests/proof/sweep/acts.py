"""What is done in a scenario, and killed, on the way of an event from its publisher to its handlers?"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Min

from django_eventbus.bus import buses, publish, publish_many
from django_eventbus.delivery.replay import discard, replay
from django_eventbus.models import DeadLetter, OutboxLane, OutboxMessage, ParkedMessage, RetryMessage, ScheduledMessage
from django_eventbus.models.outbox import HELD_UNTIL
from tests.proof.sweep import couriers
from tests.proof.sweep.models import Published
from tests.proof.sweep.scenario import Event, Scenario

PATIENCE = 60.0  # seconds that everything may take to settle, on a machine that is busy with other things
COMMAND = UUID("0190a0a0-0000-7000-8000-000000000001")  # an operator clicks again where no answer came


def publish_steps(scenario: Scenario) -> None:
    """Publish each step that is not published yet, as an application would after a crash; take some of it back."""
    for event, key, count in scenario.steps:
        for number in range(1, count + 1):
            with transaction.atomic():
                if not Published.objects.filter(event=event.__name__, key=key, number=number).exists():
                    publish_one(event, key, number, delay=scenario.delay)
    take_back(scenario.steps[0][0])


def publish_one(event: Event, key: str, number: int, *, delay: float | None) -> None:
    found = publish(event(key=key, number=number), delay=delay)
    Published.objects.create(event_id=str(found), event=event.__name__, key=key, number=number)


def take_back(event: Event) -> None:
    """Publish what must never be seen: in a savepoint, and in a transaction, that is rolled back."""
    with transaction.atomic():
        for is_whole in (False, True):
            mark = transaction.savepoint()
            publish_many([event(key="undone", number=1), event(key="undone", number=2)])
            if not is_whole:
                transaction.savepoint_rollback(mark)
        transaction.set_rollback(True)


def relay(scenario: Scenario | None = None) -> None:
    """Send what is in the outbox."""
    buses["default"].open_relay().run(threading.Event(), until_empty=True, timeout=PATIENCE)


def consume(scenario: Scenario | None = None) -> None:
    """Handle what is in the journal, and what is due of the rest."""
    bus = buses["default"]
    for group in bus.groups.values():
        bus.open_worker(group).run(threading.Event(), until_caught_up=True, timeout=PATIENCE)


def retry(scenario: Scenario) -> None:
    """Handle what waits, until nothing does that may run."""
    ends_at = time.monotonic() + PATIENCE
    while has_timed_retries() and time.monotonic() < ends_at:
        consume()


def hand_over(scenario: Scenario) -> None:
    """Handle what is in the journal, of which some is left to tasks, and then the tasks."""
    consume()
    couriers.carry_tasks()


def operate(scenario: Scenario) -> None:
    """Give all dead letters the verdict; under one command id, so that doing it again does nothing."""
    act = discard if scenario.is_discarded else replay
    act(list(DeadLetter.objects.values_list("pk", flat=True)), actor="op", using="default", command_id=COMMAND)


def settle(scenario: Scenario) -> bool:
    """Let relay and handlers run until nothing is left but what waits for a verdict; False where patience ends."""
    ends_at = time.monotonic() + PATIENCE
    while time.monotonic() < ends_at:
        relay()
        if not scenario.is_on_kafka and buses["default"].transport.capabilities.consumable:
            consume()
            couriers.carry_tasks()
            if scenario.timeouts:
                carry_queue(scenario)
        held = ParkedMessage.objects.filter(lane_id__in=_held_lanes()).count()
        if (
            is_expecting()
            or OutboxMessage.objects.exists()
            or ParkedMessage.objects.count() > held
            or has_timed_retries()
        ):
            time.sleep(until_next_retry())
            continue
        return True
    return False


def published_and_carried(scenario: Scenario) -> None:
    publish_steps(scenario)
    relay()


def carry_queue(scenario: Scenario) -> None:
    """Handle what waits in the local queue: timeouts of sagas."""
    buses["default"].local.open_relay().run(threading.Event(), until_empty=True, timeout=PATIENCE)


def is_expecting() -> bool:
    """Say whether an event will be due soon."""
    return ScheduledMessage.objects.filter(due_at__lt=datetime.now(UTC) + timedelta(minutes=1)).exists()


def has_timed_retries() -> bool:
    return RetryMessage.objects.filter(available_at__lt=HELD_UNTIL).exists()


def until_next_retry() -> float:
    """Return how many seconds nothing can happen: a task that was lost is sent again after seconds."""
    at = RetryMessage.objects.aggregate(Min("available_at"))["available_at__min"]
    wait = (at - datetime.now(UTC)).total_seconds() if at is not None else 0.0
    return min(max(wait, 0.01), 1.0)


def _held_lanes() -> Iterable[int]:
    return OutboxLane.objects.filter(available_at=HELD_UNTIL).values_list("id", flat=True)
