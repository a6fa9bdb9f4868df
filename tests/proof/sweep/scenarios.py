"""What is swept? A scenario joins by its entry in SCENARIOS.

Each has an act, which is killed at every point in turn and then done again from its start, as a service manager would;
what has to be there before; and what must have come of it in the end, beyond the plan.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction

from django_eventbus.bus import buses, publish, publish_many
from django_eventbus.consumer.due import DueLanes
from django_eventbus.delivery.replay import discard, replay
from django_eventbus.models import (
    DeadLetter,
    OutboxLane,
    OutboxMessage,
    ParkedMessage,
    RecurringEvent,
    RetryMessage,
    SagaState,
    ScheduledMessage,
)
from django_eventbus.models.outbox import HELD_UNTIL
from django_eventbus.recurrence.registry import Recurring
from django_eventbus.recurrence.runner import RecurringRunner
from django_eventbus.recurrence.schedule import IntervalSchedule
from django_eventbus.transports.base import FailureKind, TopicPartition
from tests.proof.sweep.events import Advanced, Awaited, Listed, Opened, Stepped
from tests.proof.sweep.journal import Journal
from tests.proof.sweep.models import Published
from tests.proof.sweep.settings import FOLDER

PATIENCE = 20.0  # seconds that everything may take to settle
COMMAND = UUID("0190a0a0-0000-7000-8000-000000000001")  # an operator clicks again where no answer came

Event = type[Stepped] | type[Listed] | type[Awaited] | type[Opened] | type[Advanced]
Steps = tuple[tuple[Event, str, int], ...]  # event class, key, how many


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Say what is done, and what has to come of it."""

    act: Callable[[Scenario], None]
    prepare: Callable[[Scenario], None] = lambda scenario: None
    steps: Steps = ()  # what is published
    settings: dict[str, Any] = field(default_factory=dict)  # of the bus
    refused: tuple[tuple[str, int, FailureKind, int], ...] = ()  # key, number, how, how often
    is_on_kafka: bool = False  # the mock cluster carries; its records are judged, and no handler runs
    delay: float | None = None  # seconds that events wait for their time
    check: Callable[[], Iterable[str]] = lambda: ()  # names what else is wrong
    timeouts: int = 0  # of sagas, that fire
    unreadable: int = 0  # records that no handler can get
    is_mended: bool = False  # dead letters end replayed, and held keys flow
    is_discarded: bool = False  # dead letters end discarded, and held keys flow


# What is done


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


def operate(scenario: Scenario) -> None:
    """Give all dead letters the verdict; under one command id, so that doing it again does nothing."""
    act = discard if scenario.is_discarded else replay
    act(list(DeadLetter.objects.values_list("pk", flat=True)), actor="op", using="default", command_id=COMMAND)


def settle(scenario: Scenario) -> None:
    """Let relay and handlers run until nothing is left but what waits for a verdict."""
    ends_at = time.monotonic() + PATIENCE
    while time.monotonic() < ends_at:
        relay()
        if not scenario.is_on_kafka and buses["default"].transport.capabilities.consumable:
            consume()
            carry_queue(scenario)
        held = ParkedMessage.objects.filter(lane_id__in=_held_lanes()).count()
        if (
            is_expecting()
            or OutboxMessage.objects.exists()
            or ParkedMessage.objects.count() > held
            or has_timed_retries()
        ):
            time.sleep(0.01)
            continue
        return


def carry_queue(scenario: Scenario) -> None:
    """Handle what waits in the local queue: timeouts of sagas."""
    buses["default"].local.open_relay().run(threading.Event(), until_empty=True, timeout=PATIENCE)


def recur(scenario: Scenario) -> None:
    """Publish every occurrence that is due."""
    runner = RecurringRunner(buses["default"].config, [TICK])
    while runner.run_due() == 0.0:
        pass


def tick(at: datetime) -> Stepped:
    number = OCCURRENCES - (datetime.now(UTC).date() - at.date()).days
    Published.objects.create(event_id=f"tick {at}", event="Stepped", key="tick", number=number)
    return Stepped(key="tick", number=number)


def is_expecting() -> bool:
    """Say whether an event will be due soon."""
    return ScheduledMessage.objects.filter(due_at__lt=datetime.now(UTC) + timedelta(minutes=1)).exists()


def has_timed_retries() -> bool:
    return RetryMessage.objects.filter(available_at__lt=HELD_UNTIL).exists()


def _held_lanes() -> Iterable[int]:
    return OutboxLane.objects.filter(available_at=HELD_UNTIL).values_list("id", flat=True)


# What is there before


def journal() -> Journal:
    return Journal(FOLDER / "journal")


def refuse(scenario: Scenario) -> None:
    for key, number, kind, times in scenario.refused:
        journal().refuse(key=key, number=number, kind=kind, times=times)


def published(scenario: Scenario) -> None:
    refuse(scenario)
    publish_steps(scenario)


def sent(scenario: Scenario) -> None:
    published(scenario)
    relay()
    for number in range(scenario.unreadable):
        place = TopicPartition("sweep.steps", 0)
        journal().write(place, key=b"plain", value=b"\xff", headers={"ce_specversion": "1.0", "ce_id": str(number)})


def waited(scenario: Scenario) -> None:
    """Let the time come of what was published for later."""
    published(scenario)
    time.sleep(scenario.delay or 0)


def opened(scenario: Scenario) -> None:
    """Start a saga, and let the time of its timeout come."""
    sent(scenario)
    consume()
    time.sleep(0.2)


def recurring(scenario: Scenario) -> None:
    """Let three occurrences be due."""
    recur(scenario)
    first = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=OCCURRENCES - 1)
    RecurringEvent.objects.update(next_at=first, available_at=first)


def failed_once(scenario: Scenario) -> None:
    """Handle everything once, and leave what is to be retried to the act; this process ends after it."""
    sent(scenario)
    DueLanes.find = lambda self: iter(())  # type: ignore[method-assign]
    consume()


def dead(scenario: Scenario) -> None:
    """Let all of it end, mend the cause, and leave the rest to the operator."""
    sent(scenario)
    settle(scenario)
    journal().heal()
    if scenario.is_mended:
        (FOLDER / "healed").touch()


def revived(scenario: Scenario) -> None:
    dead(scenario)
    operate(scenario)


def published_and_carried(scenario: Scenario) -> None:
    publish_steps(scenario)
    relay()


STEPS: Steps = ((Stepped, "plain", 2), (Stepped, "flaky", 3), (Stepped, "echo", 1))
TROUBLE: Steps = ((Stepped, "deadly", 3), (Stepped, "held", 3))
LOCAL = {"TRANSPORT": "local", "OUTBOX": {"WAKE_WITH": "poll"}}
REFUSALS = (
    ("plain", 1, FailureKind.PERMANENT, -1),
    ("flaky", 1, FailureKind.OTHER, 2),
    ("echo", 1, FailureKind.TOPIC, 1),
)

OCCURRENCES = 3
TICK = Recurring(
    name="sweep.tick",
    function=tick,
    schedule=IntervalSchedule(every=timedelta(days=1)),
    missed="all",
    bus="default",
    takes_moment=True,
)


def has_ended(*, count: int) -> Iterator[str]:
    """Look at the one saga: it took each step once, and nothing of it waits."""
    for status, state in SagaState.objects.values_list("status", "state"):
        if (status, json.loads(state or "{}")) != ("completed", {"count": count}):
            yield f"a saga is {status} with {state}"
    if (there := SagaState.objects.count()) != 1:
        yield f"{there} sagas"
    if waiting := ScheduledMessage.objects.count():
        yield f"{waiting} timeouts wait"


SCENARIOS: dict[str, Scenario] = {
    "publish": Scenario(act=publish_steps, steps=STEPS),
    "relay": Scenario(prepare=published, act=relay, steps=STEPS),
    "relay-kafka": Scenario(prepare=published, act=relay, steps=STEPS, is_on_kafka=True),
    "relay-archive": Scenario(prepare=published, act=relay, steps=STEPS, settings={"OUTBOX": {"RETENTION": 3600}}),
    "relay-refused": Scenario(prepare=published, act=relay, steps=STEPS, refused=REFUSALS),
    "relay-held": Scenario(
        prepare=published, act=relay, steps=STEPS, refused=REFUSALS, settings={"OUTBOX": {"ON_DEAD_LETTER": "hold_key"}}
    ),
    "consume": Scenario(prepare=sent, act=consume, steps=STEPS, unreadable=1),
    "consume-list": Scenario(prepare=sent, act=consume, steps=((Listed, "plain", 2), (Listed, "deadly", 3))),
    "consume-async": Scenario(prepare=sent, act=consume, steps=((Awaited, "flaky", 3), (Awaited, "deadly", 3))),
    "retry": Scenario(prepare=failed_once, act=retry, steps=STEPS),
    "dead-letter": Scenario(prepare=failed_once, act=retry, steps=TROUBLE),
    "replay": Scenario(prepare=dead, act=operate, steps=TROUBLE, is_mended=True),
    "replayed": Scenario(prepare=revived, act=retry, steps=TROUBLE, is_mended=True),
    "discard": Scenario(prepare=dead, act=operate, steps=TROUBLE, is_discarded=True),
    "replay-refused": Scenario(prepare=dead, act=operate, steps=STEPS, refused=REFUSALS[:1], is_mended=True),
    "schedule": Scenario(act=publish_steps, steps=STEPS, delay=0.3),
    "scheduled": Scenario(prepare=waited, act=relay, steps=STEPS, delay=0.3),
    "recurring": Scenario(prepare=recurring, act=recur, steps=((Stepped, "tick", OCCURRENCES),)),
    "saga": Scenario(
        prepare=sent,
        act=consume,
        steps=((Opened, "flaky trip", 1), (Advanced, "flaky trip", 2)),
        check=partial(has_ended, count=2),
    ),
    "saga-timeout": Scenario(
        prepare=opened, act=carry_queue, steps=((Opened, "short", 1),), timeouts=1, check=partial(has_ended, count=100)
    ),
    "local": Scenario(act=published_and_carried, steps=STEPS + TROUBLE, settings=LOCAL),
}
