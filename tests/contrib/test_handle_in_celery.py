"""Handlers in real Celery workers: wherever these are killed, each message has its effects once."""

from __future__ import annotations

import importlib
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction

from django_eventbus import publish
from django_eventbus.delivery.registry import handlers
from django_eventbus.events.registry import events
from django_eventbus.models import DeadLetter, InboxMessage, OutboxMessage, RetryMessage
from tests.contrib.workers import Workers
from tests.shop.models import Effect

pytestmark = pytest.mark.django_db(transaction=True)

EVENTBUS: dict[str, Any] = {"default": {"TRANSPORT": "local"}}
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def far(settings: Any) -> Iterator[type[Any]]:
    """The event of the handler that runs in the workers."""
    settings.EVENTBUS = EVENTBUS
    with events.isolated(), handlers.isolated():
        module = importlib.import_module("tests.contrib.handlers")
        yield module.Measured if handlers.find("far.note") else importlib.reload(module).Measured


@pytest.fixture
def environment(child_environment: Callable[..., dict[str, str]]) -> dict[str, str]:
    return child_environment(EVENTBUS) | {"DJANGO_SETTINGS_MODULE": "tests.contrib.settings"}


@pytest.fixture
def relay(workers: Workers, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """What takes messages and sends tasks."""
    return workers.run(environment, "django", "drain_outbox")


def measure(event: type[Any], *numbers: int, dies: str = "") -> None:
    with transaction.atomic():
        for number in numbers:
            publish(event(number=number, dies=dies))


def noted() -> list[int]:
    return sorted(Effect.objects.filter(handler="far.note").values_list("number", flat=True))


def is_done() -> bool:
    return not OutboxMessage.objects.exists() and not RetryMessage.objects.exists()


@pytest.mark.usefixtures("relay")
def test_a_worker_handles_what_another_process_has_taken(
    far: type[Any], workers: Workers, environment: dict[str, str]
) -> None:
    workers.start(environment)

    measure(far, *range(20))

    workers.wait_until(lambda: is_done() and len(noted()) >= 20)
    assert noted() == list(range(20))
    assert InboxMessage.objects.count() == 20


@pytest.mark.usefixtures("relay")
@pytest.mark.parametrize("point", ["begun", "handled", "committed"])
def test_a_worker_that_is_killed_anywhere_loses_and_repeats_nothing(
    far: type[Any], workers: Workers, environment: dict[str, str], point: str
) -> None:
    victim = workers.start(environment)
    measure(far, 1, dies=point)
    workers.wait_until(lambda: victim.poll() is not None)
    assert victim.returncode == -signal.SIGKILL, workers.log.read_text()
    assert noted() == ([1] if point == "committed" else [])

    workers.start(environment)
    measure(far, 2)

    workers.wait_until(lambda: is_done() and noted() == [1, 2])
    assert not DeadLetter.objects.exists()


@pytest.mark.usefixtures("relay")
def test_processes_of_a_pool_that_are_killed_are_replaced_and_lose_nothing(
    far: type[Any], workers: Workers, environment: dict[str, str]
) -> None:
    workers.start(environment, pool="prefork")

    measure(far, 0, 1, dies="begun")
    measure(far, 2, 3, dies="handled")
    measure(far, 4, 5, dies="committed")
    measure(far, *range(6, 30))

    workers.wait_until(lambda: is_done() and len(noted()) >= 30)
    assert noted() == list(range(30))
    assert not DeadLetter.objects.exists()


def test_no_worker_and_no_relay_lose_nothing(far: type[Any], workers: Workers, environment: dict[str, str]) -> None:
    relay = workers.run(environment, "django", "drain_outbox")
    measure(far, 1)
    workers.wait_until(lambda: RetryMessage.objects.filter(sends=1).exists())
    relay.kill()
    for file in (workers.folder / "queue").iterdir():
        file.unlink()  # the queue forgets its tasks

    workers.start(environment)
    workers.run(environment, "django", "drain_outbox")

    workers.wait_until(lambda: is_done() and noted() == [1])
