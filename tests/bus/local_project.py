"""Publish in a process of its own and print what its handlers did: `python -m tests.bus.local_project PART`."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connections, transaction  # noqa: E402
from django.db.models.signals import post_migrate, pre_migrate  # noqa: E402

from django_eventbus import event, handler, publish  # noqa: E402
from django_eventbus.models import OutboxMessage  # noqa: E402
from tests.shop.models import Effect  # noqa: E402


@event("tests.local.pinged", topic="pings", domain="tests", key="number")
class Pinged:
    number: int


@event("tests.local.answered", topic="answers", domain="tests", key="number")
class Answered:
    number: int


@handler(Pinged, name="tests.answer")
def answer(event: Pinged) -> Answered:
    Effect.objects.create(handler="answer", number=event.number)
    return Answered(number=event.number)


@handler(Answered, name="tests.note")
def note(event: Answered) -> None:
    Effect.objects.create(handler="note", number=event.number)


def ping(number: int) -> None:
    with transaction.atomic():
        publish(Pinged(number=number))


def wait_until(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 30
    while not condition() and time.monotonic() < ends_at:
        time.sleep(0.02)


def wait_until_quiet(*, effects: int) -> None:
    """Wait until the relay only looks: a write that is under way during a fork would lock the child out for ever."""
    wait_until(lambda: Effect.objects.count() == effects and not OutboxMessage.objects.exists())


def background_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("eventbus-")]


def in_one_process() -> None:
    assert background_threads() == []
    for number in range(5):
        ping(number)
    wait_until(lambda: Effect.objects.count() == 10)


def in_a_forked_child() -> None:
    ping(0)
    wait_until_quiet(effects=2)
    connections.close_all()
    child = os.fork()
    if child == 0:
        assert background_threads() == []
        ping(1)
        wait_until(lambda: Effect.objects.count() == 4)
        assert background_threads() != []
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0


def in_a_child_whose_parent_was_killed() -> None:
    connections.close_all()
    parent = os.fork()
    if parent == 0:
        ping(0)
        wait_until_quiet(effects=2)
        connections.close_all()
        parent = os.getpid()
        if os.fork() == 0:
            wait_until(lambda: os.getppid() != parent)
            ping(1)
            wait_until(lambda: Effect.objects.count() == 4)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(parent, 0)
    wait_until(lambda: Effect.objects.count() == 4)


def during_migrate() -> None:
    def publish_here(**_: object) -> None:
        ping(0)
        wait_until(lambda: background_threads() == [])

    # Its receiver is connected after the app's own, so it stands for a data migration between the two signals.
    pre_migrate.connect(publish_here, sender=django.apps.apps.get_app_config("shop"))
    post_migrate.connect(
        lambda **_: wait_until(lambda: background_threads() == []), sender=django.apps.apps.get_app_config("shop")
    )
    call_command("migrate", verbosity=0, skip_checks=True)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    effects = sorted(Effect.objects.values_list("handler", "number"))
    sys.stdout.write(
        json.dumps({"effects": effects, "waiting": OutboxMessage.objects.count(), "threads": background_threads()})
    )
