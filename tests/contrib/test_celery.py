from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from django_eventbus import publish
from django_eventbus.contrib import celery
from django_eventbus.models import OutboxMessage
from django_eventbus.outbox.wakeup import waking_in_tests
from tests.contrib.celery_app import app
from tests.contrib.workers import Workers
from tests.outbox.published_events import OrderShipped

EVENTBUS: dict[str, Any] = {"default": {"TRANSPORT": "local", "OUTBOX": {"WAKE_WITH": "celery"}}}


@pytest.fixture
def tasks(queue: Path, settings: Any) -> Path:
    """The folder through which tasks travel, empty, with commits of this process sending them."""
    settings.EVENTBUS = EVENTBUS
    return queue


@pytest.fixture
def worker(workers: Workers, child_environment: Callable[..., dict[str, str]]) -> Workers:
    workers.start(child_environment(EVENTBUS))
    return workers


def sent_tasks(folder: Path) -> list[str]:
    return os.listdir(folder / "queue")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("tasks")
def test_commit_has_a_worker_relay_the_event(worker: Workers) -> None:
    with waking_in_tests(), transaction.atomic():
        publish(OrderShipped(number=1))

    worker.wait_until(lambda: not OutboxMessage.objects.exists())


@pytest.mark.django_db(transaction=True)
def test_commits_in_quick_succession_share_tasks(tasks: Path) -> None:
    with waking_in_tests():
        for number in range(300):
            with transaction.atomic():
                publish(OrderShipped(number=number))

    # At most one per 100 ms, plus the one that is sent at the end.
    assert 1 <= len(sent_tasks(tasks)) <= 60


@pytest.mark.django_db(transaction=True)
def test_rollback_sends_no_task(tasks: Path) -> None:
    with waking_in_tests(), transaction.atomic():
        publish(OrderShipped(number=1))
        transaction.set_rollback(True)

    assert sent_tasks(tasks) == []


@pytest.mark.django_db(transaction=True)
def test_unreachable_queue_costs_the_publisher_nothing(tasks: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.move(tasks / "queue", tasks / "away")

    with waking_in_tests(), transaction.atomic():
        publish(OrderShipped(number=1))
    shutil.move(tasks / "away", tasks / "queue")

    assert OutboxMessage.objects.count() == 1
    assert "wake-up failed" in caplog.text


def test_task_is_acknowledged_late_and_keeps_no_result() -> None:
    task = app.tasks[celery.TASK]

    assert (task.acks_late, task.ignore_result) == (True, True)


def test_beat_schedule_names_the_task_and_lets_it_expire() -> None:
    entry = celery.beat_schedule(every=timedelta(seconds=30))["django_eventbus.drain_outbox-default"]

    assert entry["task"] in app.tasks
    assert entry["schedule"] == timedelta(seconds=30)
    assert entry["kwargs"] == {"bus": "default"}
    assert entry["options"] == {"expires": 30.0}
