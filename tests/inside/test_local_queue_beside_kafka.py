"""`consume_events` carries the local queue of a bus on Kafka, and survives what its processes do not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from django_eventbus import publish_many
from django_eventbus.models import DeadLetter, InboxMessage, OutboxMessage, PartitionEpoch
from tests.inside.events import FATEFUL, StepTaken
from tests.shop.models import Effect

PATIENCE = 60
STEPS = 8

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def bus(kafka: str, settings: Any) -> dict[str, Any]:
    name = uuid.uuid4().hex[:10]
    settings.EVENTBUS = {
        "default": {
            "TRANSPORT": "kafka",
            "SERVICE": "inside",
            "ENVIRONMENT": "test",
            "DOMAIN": f"d{name}",
            "GROUP": f"g{name}",
            "CREATE_TOPICS": True,
            "OPTIONS": {"bootstrap.servers": kafka},
        }
    }
    return dict(settings.EVENTBUS)


@pytest.fixture
def start(bus: dict[str, Any], child_environment: Callable[..., dict[str, str]], tmp_path: Path) -> Iterator[Start]:
    """Start a command in a process of its own; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []
    own = {"DJANGO_SETTINGS_MODULE": "tests.inside.settings", "INSIDE_FOLDER": str(tmp_path)}

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "django", *arguments],
            env=child_environment(bus) | own,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, out
    return dict(json.loads(out.splitlines()[-1]))


def wait_until(is_reached: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + PATIENCE
    while not is_reached():
        assert time.monotonic() < ends_at, "not reached in time"
        time.sleep(0.05)


def take_steps(*, first: int = 0) -> None:
    with transaction.atomic():
        publish_many([StepTaken(walk="w", number=number) for number in range(first, STEPS)])


def noted(handler: str) -> list[int]:
    return list(Effect.objects.filter(handler=handler).order_by("id").values_list("number", flat=True))


def test_a_killed_process_loses_and_repeats_nothing_of_the_local_queue(start: Start, tmp_path: Path) -> None:
    take_steps()
    first = start("consume_events")
    wait_until((tmp_path / "reached").exists)
    first.send_signal(signal.SIGKILL)
    first.wait(PATIENCE)
    before = noted("note_step")

    second = finish(start("consume_events", "--until-caught-up", "--timeout", str(PATIENCE), "--json"))

    assert len(before) <= FATEFUL
    assert second["is_caught_up"]
    assert noted("note_step") == list(range(STEPS))
    told = OutboxMessage.objects.order_by("id").values_list("event_name", flat=True)
    assert list(told) == ["inside.walks.step-told"] * STEPS
    assert InboxMessage.objects.count() == STEPS
    assert not DeadLetter.objects.exists()


@pytest.mark.parametrize("processes", ["1", "2"])
def test_what_handlers_of_the_local_queue_publish_travels_and_comes_back(
    start: Start, tmp_path: Path, processes: str
) -> None:
    (tmp_path / "reached").touch()
    take_steps()
    caught_up = ("--until-caught-up", "--timeout", str(PATIENCE), "--json")

    queue = finish(start("consume_events", "--processes", processes, *caught_up))
    sent = finish(start("drain_outbox", "--until-empty", "--timeout", str(PATIENCE), "--json"))
    back = finish(start("consume_events", *caught_up))

    assert (queue["local"], queue["messages"]) == (STEPS, 0)
    assert sent["sent"] == STEPS
    assert (back["local"], back["messages"]) == (0, STEPS)
    assert noted("note_told") == list(range(STEPS))


def test_a_running_command_handles_what_is_committed_later_and_another_takes_over(start: Start, tmp_path: Path) -> None:
    (tmp_path / "reached").touch()
    commands = {start("consume_events"), start("consume_events")}
    take_steps(first=STEPS - 1)
    wait_until(lambda: noted("note_step") == [STEPS - 1])
    owner = PartitionEpoch.objects.get(topic="default:local").owner
    busy = next(command for command in commands if owner.endswith(f":{command.pid}"))
    busy.kill()

    take_steps(first=STEPS - 2)

    wait_until(lambda: noted("note_step") == [STEPS - 1, STEPS - 2, STEPS - 1])
    (other,) = commands - {busy}
    other.send_signal(signal.SIGTERM)
    assert other.wait(PATIENCE) == 0
