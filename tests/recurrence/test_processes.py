"""Several processes publish what recurs, are killed and frozen: each occurrence happens once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from django_eventbus.conf import load
from django_eventbus.models import OutboxMessage, RecurringEvent, SentMessage
from django_eventbus.recurrence.occurrence import occurrence_id
from tests.outbox.relaying import eventually
from tests.shop.models import Effect

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres_only]

GRACE = 2.0
Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def eventbus(tmp_path: Path) -> dict[str, Any]:
    section = {"GRACE": GRACE, "SEND_DEADLINE": 0.5, "RETENTION": 3600}
    transport = "tests.outbox.file_transport.FileTransport"
    return {"default": {"TRANSPORT": transport, "OPTIONS": {"path": str(tmp_path / "sent")}, "OUTBOX": section}}


@pytest.fixture
def start(child_environment: Callable[..., dict[str, str]], eventbus: dict[str, Any]) -> Iterator[Start]:
    """Start a part of `member`; whatever still runs is killed afterwards."""
    started: list[subprocess.Popen[str]] = []

    def run(part: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.recurrence.member", part],
            env=child_environment(eventbus),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        for number in (signal.SIGCONT, signal.SIGKILL):
            if process.poll() is None:
                os.killpg(process.pid, number)
        process.communicate()


def place(*, due_at: datetime, is_paused: bool = False) -> None:
    RecurringEvent.objects.update_or_create(
        bus="default",
        name="tests.second",
        defaults={"schedule": "every 0:00:01", "next_at": due_at, "available_at": due_at, "is_paused": is_paused},
    )


def row() -> RecurringEvent:
    return RecurringEvent.objects.get(name="tests.second")


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def events() -> dict[UUID, datetime]:
    """Return ids and occurrences of the events in the outbox, and of those that were sent."""
    rows = [row for model in (OutboxMessage, SentMessage) for row in model.objects.values_list("event_id", "payload")]
    return {event_id: datetime.fromisoformat(json.loads(bytes(payload))["at"]) for event_id, payload in rows}


def occurrences() -> list[datetime]:
    return sorted(events().values())


def test_processes_that_race_for_a_backlog_publish_each_occurrence_once(start: Start) -> None:
    first, count = now() - timedelta(minutes=10), 300
    place(due_at=first, is_paused=True)
    members = [start("race") for _ in range(4)]
    for member in members:
        assert member.stdout is not None
        assert member.stdout.readline() == "ready\n"

    RecurringEvent.objects.update(is_paused=False)
    eventually(lambda: (last := row().last_at) is not None and last >= first + timedelta(seconds=count), within=60)
    RecurringEvent.objects.update(is_paused=True)
    for member in members:
        member.wait(30)

    last = row().last_at
    assert last is not None
    expected = [first + timedelta(seconds=number) for number in range(int((last - first).total_seconds()) + 1)]
    assert occurrences() == expected
    assert OutboxMessage.objects.count() == Effect.objects.count() == len(expected)
    assert Effect.objects.values("number").distinct().count() == len(expected)
    assert Effect.objects.values("handler").distinct().count() > 1  # there was a race


def test_relays_that_are_killed_one_after_the_other_lose_and_repeat_nothing(start: Start) -> None:
    first = now()
    place(due_at=first)
    relays = [start("relay") for _ in range(3)]

    for _ in range(2):
        wait_for_more()
        active = int(Effect.objects.latest("id").handler)
        os.killpg(active, signal.SIGKILL)
        relays = [relay for relay in relays if relay.pid != active]
    wait_for_more()
    for relay in relays:
        relay.terminate()
        relay.wait(30)

    found = occurrences()
    assert found == [first + timedelta(seconds=number) for number in range(len(found))]
    assert Effect.objects.count() == len(found)
    assert Effect.objects.values("handler").distinct().count() == 3


@pytest.mark.parametrize(("part", "is_published"), [("die_before_the_commit", False), ("die_after_the_commit", True)])
def test_process_that_dies_around_the_commit_neither_loses_nor_repeats_the_occurrence(
    start: Start, eventbus: dict[str, Any], part: str, is_published: bool
) -> None:
    at = now()
    place(due_at=at)

    assert start(part).wait(30) == -signal.SIGKILL

    assert (OutboxMessage.objects.count(), Effect.objects.count()) == (int(is_published),) * 2
    assert row().last_at == (at if is_published else None)
    relay = start("relay")
    eventually(lambda: len(occurrences()) > 1, within=30)
    relay.terminate()
    relay.wait(30)
    found = occurrences()
    assert found == [at + timedelta(seconds=number) for number in range(len(found))]
    assert Effect.objects.count() == len(found)
    source = load(eventbus)["default"].source
    assert events()[occurrence_id(source, "tests.second", at, 0)] == at


def test_frozen_process_is_evicted_and_its_occurrence_happens_elsewhere(start: Start) -> None:
    at = now()
    place(due_at=at)
    frozen = start("freeze")
    eventually(lambda: is_stopped(frozen.pid), within=30)

    relay = start("relay")
    eventually(lambda: len(occurrences()) > 1, within=30)
    os.killpg(frozen.pid, signal.SIGCONT)
    frozen.terminate()
    assert frozen.wait(30) == 0
    relay.terminate()
    relay.wait(30)

    found = occurrences()
    assert found == [at + timedelta(seconds=number) for number in range(len(found))]
    assert Effect.objects.count() == len(found)
    assert not Effect.objects.filter(handler=str(frozen.pid), number=int(at.timestamp()) % 1_000_000).exists()


def wait_for_more() -> None:
    reached = len(occurrences())
    eventually(lambda: len(occurrences()) > reached + 1, within=30)


def is_stopped(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat").read_text()
    return status.rpartition(")")[2].split()[0] == "T"
