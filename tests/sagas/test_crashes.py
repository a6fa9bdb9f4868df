"""A process that is killed at any point of a step: every saga ends as if nothing had happened."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction

from django_eventbus.conf import load
from django_eventbus.models import DeadLetter, RetryMessage, SagaHistory, SagaState, ScheduledMessage
from django_eventbus.outbox.publisher import publish
from tests.sagas.killed.events import Placed
from tests.shop.models import Effect

ORDERS = 12
POINTS = [
    ("loaded", 3),
    ("saved", 0),
    ("saved", 20),
    ("published", 5),
    ("scheduled", 2),
    ("scheduled", 14),
    ("cancelled", 2),
    ("in timeout", 3),
    ("before commit", 3),
    ("after commit", 3),
]
LOCAL: dict[str, Any] = {"SERVICE": "killed", "OUTBOX": {"WAKE_WITH": "poll"}}
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(child_environment: Callable[..., dict[str, str]]) -> Iterator[Start]:
    """Start a process of the project, with points at which it dies."""
    started: list[subprocess.Popen[bytes]] = []

    def start(command: str = "drain_outbox", *, bus: dict[str, Any] = LOCAL, **chaos: str) -> subprocess.Popen[bytes]:
        environment = child_environment({"default": bus}) | chaos
        environment["DJANGO_SETTINGS_MODULE"] = "tests.sagas.killed.settings"
        daemon = [sys.executable, "-m", "django", command, "--json"]
        started.append(subprocess.Popen(daemon, env=environment))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(10)


@pytest.mark.parametrize(("place", "after"), POINTS)
def test_a_kill_anywhere_in_a_step_repeats_and_loses_nothing(start: Start, place: str, after: int) -> None:
    place_orders(LOCAL)

    victim = start(KILL_AT=place, KILL_AFTER=str(after))
    assert victim.wait(60) == -signal.SIGKILL
    start()

    wait_for_the_end()
    assert_sound()


@pytest.mark.postgres_only
@pytest.mark.parametrize(("place", "after"), [("saved", 15), ("in timeout", 3)])
def test_a_kill_of_a_consumer_behind_a_broker_repeats_and_loses_nothing(
    start: Start, kafka: str, place: str, after: int
) -> None:
    session = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}
    bus = {
        "TRANSPORT": "kafka",
        "SERVICE": "killed",
        "ENVIRONMENT": f"k{uuid.uuid4().hex[:8]}",
        "CREATE_TOPICS": True,
        "OPTIONS": {"bootstrap.servers": kafka},
        "CONSUMER_OPTIONS": session,
        "CONSUMER": {"GRACE": 2},
    }
    place_orders(bus)
    start("drain_outbox", bus=bus)

    victim = start("consume_events", bus=bus, KILL_AT=place, KILL_AFTER=str(after))
    assert victim.wait(60) == -signal.SIGKILL
    start("consume_events", bus=bus)

    wait_for_the_end()
    assert_sound()


def wait_for_the_end() -> None:
    eventually(lambda: SagaState.objects.filter(ended_at__isnull=False).count() == ORDERS)
    undone = SagaState.objects.filter(status="compensated").count()
    eventually(lambda: Effect.objects.filter(handler="release").count() >= undone)


def place_orders(bus: dict[str, Any]) -> None:
    config = load({"default": bus})["default"]
    with transaction.atomic():
        publish(config, [Placed(order_id=number) for number in range(ORDERS)])


def assert_sound() -> None:
    """Unpaid orders were reminded once more and compensated; so was one whose payment came late. Each effect once."""
    ended = dict(SagaState.objects.values_list("key", "status"))
    undone = {int(key) for key, status in ended.items() if status == "compensated"}
    assert undone >= set(range(1, ORDERS, 2))
    effects = Counter(Effect.objects.values_list("handler", "number"))
    assert effects == {("reserve", n): 1 for n in range(ORDERS)} | {("release", n): 1 for n in undone}
    for row in SagaState.objects.all():
        steps = list(
            SagaHistory.objects.filter(instance_id=row.pk).order_by("version").values_list("message", flat=True)
        )
        fired = [message for message in steps if message == "timeout payment"]
        assert steps[:1] == ["killed.placed"]
        assert len(fired) == json.loads(row.state or "{}")["reminders"]
        assert len(steps) == row.version
    for table in (ScheduledMessage, RetryMessage, DeadLetter):
        assert not table._default_manager.exists()


def eventually(condition: Callable[[], bool], *, within: float = 60) -> None:
    until = time.monotonic() + within
    while not condition():
        assert time.monotonic() < until, "not within the time"
        time.sleep(0.05)
