"""A step of the relay stays what it is when keys wait aside by the thousand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from django_eventbus.models import OutboxLane, OutboxMessage, ParkedMessage
from django_eventbus.models.outbox import HELD_UNTIL
from django_eventbus.models.relay import RelaySession
from django_eventbus.models.relay_lanes import BEHIND, FEW, FOLLOW, MOVE, WAITING
from django_eventbus.outbox.relay import Relay
from django_eventbus.outbox.shards import shards_of
from django_eventbus.transports.base import FailureKind
from tests.outbox.relaying import RecordingSender, append, bus_config, drain, failing, new_message

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres_only]

MANY = 5_000


@pytest.fixture
def session() -> Iterator[RelaySession]:
    opened = RelaySession(bus_config(), shards=shards_of(0, shares=1), is_listening=False)
    yield opened
    opened.close()


def park(count: int, *, until: datetime | None = None) -> None:
    """Let so many keys wait, each with one message; an hour, where nothing else is said."""
    OutboxMessage.objects.append([new_message("first", key=f"waits-{number}") for number in range(count)])
    refusing = RecordingSender()
    refusing.rule = failing(FailureKind.OTHER, topic="orders")
    Relay(bus_config(batch_size=count), lambda: refusing).run(threading.Event(), once=True)
    assert OutboxLane.objects.count() == ParkedMessage.objects.count() == count
    OutboxLane.objects.update(available_at=until or timezone.now() + timedelta(hours=1))


@pytest.mark.parametrize("until", [None, HELD_UNTIL])
def test_messages_of_keys_that_wait_step_aside_and_all_others_are_sent(until: datetime | None) -> None:
    park(3 * FEW, until=until)
    for key in ("free", "waits-0", f"waits-{3 * FEW - 1}", ""):
        append(key, key=key)
    sender = RecordingSender()

    drain(sender, timeout=1)

    assert sender.payloads == ["free", ""]
    parked = ParkedMessage.objects.exclude(payload=b"first").order_by("id")
    assert [bytes(message.payload).decode() for message in parked] == ["waits-0", f"waits-{3 * FEW - 1}"]
    assert [OutboxLane.objects.get(id=message.lane_id).key for message in parked] == [
        b"waits-0",
        f"waits-{3 * FEW - 1}".encode(),
    ]


def test_messages_of_a_topic_that_waits_step_aside_too() -> None:
    park(3 * FEW)
    sender = RecordingSender()
    sender.rule = failing(FailureKind.TOPIC, topic="broken")
    append("first", key="any", topic="broken")
    drain(sender, timeout=0.5)

    append("second", key="other", topic="broken")
    append("third", key="waits-1", topic="broken")
    append("sent", key="other", topic="orders")
    drain(sender, timeout=0.5)

    assert sender.payloads == ["sent"]
    assert not OutboxMessage.objects.exists()
    assert ParkedMessage.objects.filter(topic="broken").count() == 3


def test_a_relay_is_done_when_all_that_waits_is_held_for_a_verdict() -> None:
    park(3 * FEW, until=HELD_UNTIL)

    assert drain(RecordingSender(), timeout=5).is_empty

    OutboxLane.objects.filter(key=b"waits-7").update(available_at=timezone.now() + timedelta(hours=1))
    assert not drain(RecordingSender(), timeout=0.3).is_empty


def test_every_key_that_falls_due_is_sent_however_many_do_at_once() -> None:
    park(3 * FEW, until=timezone.now())
    sender = RecordingSender()

    report = drain(sender, bus_config(batch_size=FEW), timeout=20)

    assert report.is_empty
    assert len(sender.sent) == 3 * FEW
    assert not OutboxLane.objects.exists()


def test_no_statement_of_a_step_visits_more_of_the_lanes_than_it_needs(session: RelaySession) -> None:
    park(MANY)
    OutboxLane.objects.update(shard=0)
    for key in ("free", "waits-1", "waits-2"):
        append(key, key=key)
    OutboxMessage.objects.update(shard=0)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE eventbus_outbox_lane")
    ids = list(OutboxMessage.objects.values_list("id", flat=True))
    values = {"bus": session.bus, "shards": session.shards, "held": HELD_UNTIL, "ids": ids, "limit": 1000, "few": FEW}

    pages = {name: pages_of(session, statement, values) for name, statement in STATEMENTS.items()}

    assert {name: count for name, count in pages.items() if count > 80} == {}


STATEMENTS = {"waiting": WAITING, "behind": BEHIND, "follow": FOLLOW, "move": MOVE}


def pages_of(session: RelaySession, statement: str, values: dict[str, Any]) -> int:
    session.begin()
    plan = session.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", values)[0][0]
    session.rollback()
    return int(plan[0]["Plan"]["Shared Hit Blocks"])
