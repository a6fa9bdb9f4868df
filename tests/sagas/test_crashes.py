"""A process that is killed at any point of a step: every saga ends as if nothing had happened."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
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
DAEMON = [sys.executable, "-m", "django", "drain_outbox", "--json"]


@pytest.fixture
def start(child_environment: Callable[..., dict[str, str]]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a process that relays and handles, with points at which it dies."""
    environment = child_environment({"default": {"SERVICE": "killed", "OUTBOX": {"WAKE_WITH": "poll"}}})
    environment["DJANGO_SETTINGS_MODULE"] = "tests.sagas.killed.settings"
    started: list[subprocess.Popen[bytes]] = []

    def start(**chaos: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(DAEMON, env=environment | chaos))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(10)


@pytest.mark.parametrize(("place", "after"), POINTS)
def test_a_kill_anywhere_in_a_step_repeats_and_loses_nothing(
    start: Callable[..., subprocess.Popen[bytes]], place: str, after: int
) -> None:
    place_orders()

    victim = start(KILL_AT=place, KILL_AFTER=str(after))
    assert victim.wait(60) == -signal.SIGKILL
    start()

    eventually(lambda: SagaState.objects.filter(ended_at__isnull=False).count() == ORDERS)
    eventually(lambda: Effect.objects.filter(handler="release").count() >= ORDERS // 2)
    assert_sound()


def place_orders() -> None:
    config: Any = load({"default": {"SERVICE": "killed", "OUTBOX": {"WAKE_WITH": "poll"}}})["default"]
    with transaction.atomic():
        publish(config, [Placed(order_id=number) for number in range(ORDERS)])


def assert_sound() -> None:
    """Every paid order completed, every other one was reminded once more and compensated; each effect once."""
    ended = dict(SagaState.objects.values_list("key", "status"))
    assert ended == {str(n): "compensated" if n % 2 else "completed" for n in range(ORDERS)}
    effects = Counter(Effect.objects.values_list("handler", "number"))
    odd = {("release", n): 1 for n in range(1, ORDERS, 2)}
    assert effects == {("reserve", n): 1 for n in range(ORDERS)} | odd
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


def eventually(condition: Callable[[], bool], *, within: float = 40) -> None:
    until = time.monotonic() + within
    while not condition():
        assert time.monotonic() < until, "not within the time"
        time.sleep(0.05)
