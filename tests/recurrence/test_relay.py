"""A relay publishes what recurs between its steps, on time, and sends it before it ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from django_eventbus import buses
from django_eventbus.conf import MEMORY_TRANSPORT
from django_eventbus.models import OutboxMessage, RecurringEvent, SentMessage
from django_eventbus.recurrence.registry import recurring
from django_eventbus.signals import occurrence_published
from tests.outbox.relaying import eventually

from .recurring_events import Ticked

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def archive(settings: Any) -> None:
    settings.EVENTBUS = {"default": {"TRANSPORT": MEMORY_TRANSPORT, "OUTBOX": {"RETENTION": 3600}}}


@pytest.fixture
def lateness() -> Iterator[list[timedelta]]:
    """Note of each occurrence how long after its time it was committed."""
    noted: list[timedelta] = []

    def note(at: datetime, **_: Any) -> None:
        noted.append(datetime.now(UTC) - at)

    occurrence_published.connect(note)
    yield noted
    occurrence_published.disconnect(note)


def tick_every(length: timedelta) -> None:
    @recurring(every=length, name="tests.tick", missed="all")
    def tick(at: datetime) -> Ticked:
        return Ticked(name="tick", at=at)


def let_pass(length: timedelta) -> None:
    row = RecurringEvent.objects.get()
    assert row.next_at is not None
    row.next_at = row.available_at = row.next_at - length
    row.save()


def sent() -> int:
    payloads = [json.loads(bytes(payload)) for payload in SentMessage.objects.values_list("payload", flat=True)]
    return len({payload["at"] for payload in payloads})


def test_what_falls_due_is_sent_before_the_outbox_counts_as_empty() -> None:
    tick_every(timedelta(hours=1))
    call_command("drain_outbox", "--until-empty", verbosity=0)
    assert sent() == 0

    let_pass(timedelta(hours=3))
    call_command("drain_outbox", "--until-empty", verbosity=0)

    assert (sent(), OutboxMessage.objects.count()) == (3, 0)


def test_relays_of_other_shares_leave_it_to_the_first() -> None:
    tick_every(timedelta(hours=1))

    buses["default"].open_relay(share=1, shares=2).run(threading.Event(), until_empty=True)

    assert not RecurringEvent.objects.exists()
    buses["default"].open_relay(share=0, shares=2).run(threading.Event(), until_empty=True)
    assert RecurringEvent.objects.exists()


def test_idle_relay_is_on_time(lateness: list[timedelta]) -> None:
    tick_every(timedelta(seconds=1))
    stop = threading.Event()

    def relay() -> None:
        try:
            buses["default"].open_relay().run(stop)
        finally:
            connections.close_all()

    thread = threading.Thread(target=relay)
    thread.start()
    try:
        eventually(lambda: len(lateness) >= 3 and sent() >= 3)
    finally:
        stop.set()
        thread.join(20)

    assert not thread.is_alive()
    assert min(lateness) >= timedelta(0)
    assert min(lateness) < timedelta(seconds=0.2)  # it polls once a second: it knew
