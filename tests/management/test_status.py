"""What eventbus_status says of full and of empty tables."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from django_eventbus import publish, publish_many
from django_eventbus.models import ControlFlag, DeadLetter, OutboxLane, RecurringEvent
from django_eventbus.models.depths import measure
from django_eventbus.models.outbox import HELD_UNTIL
from tests.testing.tested_events import OrderPlaced

pytestmark = pytest.mark.django_db


def put(count: int, *, bus: str | None = None) -> None:
    for _ in range(count):
        with transaction.atomic():
            publish(OrderPlaced(order_id=uuid4()), bus=bus)


def dead(handler: str, count: int = 1, *, status: str = "dead") -> None:
    for _ in range(count):
        DeadLetter.objects.create(
            direction="in", status=status, reason="rejected", bus="default", handler=handler, topic="t", headers=b""
        )


def status(*arguments: str) -> str:
    out = StringIO()
    call_command("eventbus_status", *arguments, stdout=out)
    return out.getvalue()


def test_empty_tables_hold_nothing() -> None:
    depths = measure("default")

    assert {depth.table: depth.rows for depth in depths.tables} == {
        "eventbus_outbox": 0,
        "eventbus_scheduled": 0,
        "eventbus_outbox_parked": 0,
        "eventbus_retry": 0,
        "eventbus_dead_letter": 0,
        "eventbus_saga_state": 0,
        "eventbus_inbox": 0,
        "eventbus_sent": 0,
    }
    assert (depths.parts, depths.lanes) == ((), ())


def test_outbox_is_counted_by_bus_with_its_age(settings: Any) -> None:
    settings.EVENTBUS = {"default": {}, "audit": {}}
    put(3)
    put(2, bus="audit")

    depths = measure("default")

    assert (depths.tables[0].rows, depths.tables[0].is_capped) == (5, False)
    assert depths.tables[0].oldest_at is not None
    assert {part.name: part.rows for part in depths.parts} == {("default",): 3, ("audit",): 2}


def test_what_waits_for_its_time_is_counted_by_bus_with_the_next_moment(settings: Any) -> None:
    settings.EVENTBUS = {"default": {}, "audit": {}}
    with transaction.atomic():
        publish_many([OrderPlaced(order_id=uuid4()) for _ in range(3)], delay=timedelta(hours=5))
        publish(OrderPlaced(order_id=uuid4()), delay=timedelta(hours=2, seconds=1), bus="audit")

    (scheduled,) = [depth for depth in measure("default", cap=2).tables if depth.table == "eventbus_scheduled"]

    assert (scheduled.rows, scheduled.is_capped) == (3, True)
    assert scheduled.oldest_at is not None
    assert abs(scheduled.oldest_at - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=1)
    assert re.search(r"^  scheduled +4  next in (2:00|1:59):\d\d$", status(), re.MULTILINE)
    assert re.search(r"^ +3 default  next in (5:00|4:59):\d\d$", status(), re.MULTILINE)


def test_open_dead_letters_are_counted_by_handler() -> None:
    dead("billing.issue_invoice", 2)
    dead("shipping.plan")
    dead("shipping.plan", 5, status="discarded")

    depths = measure("default")

    assert {part.name: part.rows for part in depths.parts} == {
        ("default", "billing.issue_invoice", "rejected"): 2,
        ("default", "shipping.plan", "rejected"): 1,
    }


def test_lanes_are_named_by_topic() -> None:
    number = ControlFlag.objects.bus_number("default")
    for shard in range(3):
        OutboxLane.objects.create(
            bus=number, shard=shard, topic="t", whole=True, key=b"", reason="UNKNOWN_TOPIC", available_at=HELD_UNTIL
        )

    (lane,) = measure("default").lanes

    assert (lane.bus, lane.topic, lane.is_whole, lane.count, lane.is_held) == ("default", "t", True, 3, True)


def test_no_more_rows_are_read_than_the_cap(django_assert_max_num_queries: Any) -> None:
    put(7)

    with django_assert_max_num_queries(12):
        depth = measure("default", cap=5).tables[0]

    assert (depth.rows, depth.is_capped) == (5, True)


def test_no_statement_counts_a_table(django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(12) as queries:
        status()

    statements = [query["sql"].upper() for query in queries]
    reads = [sql for sql in statements if "EVENTBUS_CONTROL" not in sql]
    assert len(reads) >= 7
    assert all("LIMIT" in sql and "COUNT(" not in sql for sql in reads)


def test_what_recurs_is_told_with_its_trouble() -> None:
    at = datetime(2026, 11, 21, 6, tzinfo=UTC)
    for name, fields in (("a", {}), ("b", {"failures": 3}), ("c", {"is_paused": True}), ("d", {"next_at": None})):
        RecurringEvent.objects.create(**{"bus": "default", "name": name, "schedule": "s", "next_at": at, **fields})

    told = [line.strip() for line in status().splitlines() if "recurs" in line]

    assert told == [
        "recurs: a of bus default, next 2026-11-21 06:00:00 UTC",
        "recurs: b of bus default, next 2026-11-21 06:00:00 UTC, failed 3 times",
        "recurs: c of bus default, paused",
        "recurs: d of bus default, never again",
    ]
    assert [each["name"] for each in json.loads(status("--json"))["databases"][0]["recurring"]] == ["a", "b", "c", "d"]


def test_text_and_json_tell_the_same() -> None:
    put(2)
    dead("billing.issue_invoice")

    text, (told,) = status(), json.loads(status("--json"))["databases"]

    assert text.splitlines()[0] == "database default"
    assert "outbox" in text
    assert "1 default billing.issue_invoice rejected" in text
    assert told["using"] == "default"
    assert told["tables"][0]["rows"] == 2
    assert connection.vendor == "sqlite" or "T" in told["tables"][0]["oldest_at"]


def test_unknown_bus_is_wrong_usage() -> None:
    with pytest.raises(CommandError, match="'nope'") as error:
        status("--bus", "nope")

    assert error.value.returncode == 2
