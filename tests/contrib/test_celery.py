from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from django_eventbus import publish
from django_eventbus.contrib import celery
from django_eventbus.models import OutboxMessage
from django_eventbus.outbox.wakeup import waking_in_tests
from tests.contrib.celery_app import app, use_folder
from tests.outbox.published_events import OrderShipped

EVENTBUS: dict[str, Any] = {"default": {"TRANSPORT": "local", "OUTBOX": {"WAKE_WITH": "celery"}}}
PATIENCE = 40.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests: Celery keeps the connection that it opened first."""
    folder = tmp_path_factory.mktemp("tasks")
    use_folder(folder)
    return folder


@pytest.fixture
def tasks(folder: Path, settings: Any) -> Path:
    """The folder through which tasks travel, empty, with commits of this process sending them."""
    settings.EVENTBUS = EVENTBUS
    for file in (folder / "queue").iterdir():
        file.unlink()
    return folder


@pytest.fixture
def worker(tasks: Path, child_environment: Callable[..., dict[str, str]]) -> Iterator[subprocess.Popen[bytes]]:
    environment = child_environment(EVENTBUS) | {"TESTS_CELERY_FOLDER": str(tasks)}
    command = [sys.executable, "-m", "celery", "-A", "tests.contrib.celery_app", "worker", "-P", "solo", "-l", "INFO"]
    with (tasks / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--without-mingle", "--without-gossip"], env=environment, stdout=log, stderr=log
        )
        yield process
        process.terminate()
        process.wait(PATIENCE)


def sent_tasks(folder: Path) -> list[str]:
    return os.listdir(folder / "queue")


def wait_until(condition: Callable[[], bool], *, log: Path | None = None) -> None:
    ends_at = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends_at, log.read_text() if log else "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.django_db(transaction=True)
def test_commit_has_a_worker_relay_the_event(tasks: Path, worker: subprocess.Popen[bytes]) -> None:
    with waking_in_tests(), transaction.atomic():
        publish(OrderShipped(number=1))

    wait_until(lambda: not OutboxMessage.objects.exists(), log=tasks / "worker.log")


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
