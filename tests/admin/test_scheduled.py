"""Operators see what waits for its time, call it back or let it go at once, by permission, and are recorded."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_eventbus.events.envelope import join_headers
from django_eventbus.models import ControlFlag, OperatorAction, OutboxMessage, ScheduledMessage
from django_eventbus.models.outbox import NewMessage
from django_eventbus.outbox.waiting import call_back, deliver_now
from django_eventbus.testing import drain

from .conftest import PAYLOAD

pytestmark = pytest.mark.django_db

Operator = Callable[..., Client]
LIST = "admin:eventbus_scheduledmessage_changelist"
CONTROL = ("view_scheduledmessage", "control_eventbus")
HOUR = timedelta(hours=1)


def schedule(name: str = "shop.orders.order-expired", *, after: timedelta = HOUR, count: int = 1) -> list[UUID]:
    headers = join_headers([("ce_id", "x"), ("content-type", "application/json")])
    route: dict[str, Any] = {"bus": ControlFlag.objects.bus_number("default"), "shard": 0, "topic": "t", "key": b"k"}
    messages = [
        NewMessage(event_id=uuid4(), headers=headers, payload=PAYLOAD, event_name=name, **route) for _ in range(count)
    ]
    ScheduledMessage.objects.append(messages, due_at=datetime.now(UTC) + after)
    return [message.event_id for message in messages]


def names_listed(client: Client, **filters: str) -> list[str]:
    page = client.get(reverse(LIST), filters).content.decode()
    return re.findall(r'<div class="eventbus-main">shop\.<wbr>orders\.<wbr>([\w-]+)</div>', page)


def act(client: Client, action: str, ids: list[int], **form: str) -> Any:
    values = {"action": action, "_selected_action": [str(number) for number in ids], **form}
    return client.post(reverse(LIST), values, follow=True)


def confirmed(reason: str = "asked to") -> dict[str, str]:
    return {"confirmed": "yes", "command_id": str(uuid4()), "reason": reason}


def test_list_shows_what_is_due_next_first(operator: Operator) -> None:
    schedule("shop.orders.later", after=3 * HOUR)
    schedule("shop.orders.sooner", after=HOUR)

    assert names_listed(operator("view_scheduledmessage")) == ["sooner", "later"]


def test_list_is_filtered_by_event_and_by_time(operator: Operator) -> None:
    schedule("shop.orders.late", after=-HOUR)
    schedule("shop.orders.soon", after=HOUR / 2)
    schedule("shop.orders.today", after=5 * HOUR)
    schedule("shop.orders.far", after=timedelta(days=30))
    client = operator("view_scheduledmessage")

    assert names_listed(client, event_name="shop.orders.today") == ["today"]
    assert names_listed(client, due="overdue") == ["late"]
    assert names_listed(client, due="hour") == ["late", "soon"]
    assert names_listed(client, due="day") == ["late", "soon", "today"]
    assert names_listed(client, due="later") == ["far"]


def test_message_is_found_by_its_id(operator: Operator) -> None:
    event_id, _ = schedule(count=2)

    found, none = (operator("view_scheduledmessage").get(reverse(LIST), {"q": q}) for q in (str(event_id), "no id"))

    assert [row.event_id for row in found.context["cl"].result_list] == [event_id]
    assert b"Nothing matches" in none.content


def test_page_shows_when_it_is_due_and_hides_its_content_without_permission(operator: Operator) -> None:
    schedule()
    url = reverse("admin:eventbus_scheduledmessage_change", args=[ScheduledMessage.objects.get().pk])

    page = operator("view_scheduledmessage").get(url).content
    full = operator("view_scheduledmessage", "view_payload").get(url).content

    assert b"(in 59" in page
    assert b"order_id" not in page
    assert b"order_id" in full
    assert b"_selected_action" not in page  # no button without the permission to control


def test_cancelled_message_is_gone_and_the_act_is_recorded(operator: Operator) -> None:
    [event_id] = schedule()
    kept = schedule("shop.orders.kept")
    row = ScheduledMessage.objects.get(event_id=event_id)
    client = operator(*CONTROL)

    question = act(client, "cancel_selected", [row.pk])
    assert "Cancel 1 scheduled message?" in question.content.decode()
    assert ScheduledMessage.objects.count() == 2
    answer = act(client, "cancel_selected", [row.pk], **confirmed(reason="customer paid"))

    assert "1 scheduled message cancelled." in answer.content.decode()
    assert [message.event_id for message in ScheduledMessage.objects.all()] == kept
    action = OperatorAction.objects.get()
    assert (action.kind, action.reason) == ("cancel", "customer paid")
    assert action.target == f"scheduled shop.orders.order-expired {event_id}"
    assert action.actor.startswith("operator-")


def test_message_delivered_now_is_sent_with_the_next_look(operator: Operator) -> None:
    [event_id] = schedule()
    row = ScheduledMessage.objects.get(event_id=event_id)

    answer = act(operator(*CONTROL), "deliver_now_selected", [row.pk], **confirmed())

    assert "1 scheduled message on the way." in answer.content.decode()
    assert drain().sent == 1
    assert OperatorAction.objects.get().kind == "deliver_now"


def test_page_of_a_message_offers_what_the_operator_may_do(operator: Operator) -> None:
    schedule()
    url = reverse("admin:eventbus_scheduledmessage_change", args=[ScheduledMessage.objects.get().pk])

    page = operator(*CONTROL).get(url).content.decode()

    assert re.findall(r'name="action" value="(\w+)"', page) == ["deliver_now_selected", "cancel_selected"]


@pytest.mark.parametrize("permissions", [("view_scheduledmessage",), ("control_eventbus",), ()])
@pytest.mark.parametrize("action", ["cancel_selected", "deliver_now_selected"])
def test_without_permission_nothing_happens(operator: Operator, action: str, permissions: tuple[str, ...]) -> None:
    schedule()
    row = ScheduledMessage.objects.get()

    act(operator(*permissions), action, [row.pk], **confirmed())

    assert ScheduledMessage.objects.get().due_at == row.due_at
    assert not OperatorAction.objects.exists()


def test_what_has_left_meanwhile_is_told_and_not_recorded(operator: Operator) -> None:
    first, second = schedule(count=2)
    rows = {row.event_id: row.pk for row in ScheduledMessage.objects.all()}
    ScheduledMessage.objects.filter(event_id=first).delete()

    report = call_back(rows.values(), actor="somebody", using="default")

    assert report.done == (rows[second],)
    assert report.refused == {rows[first]: "it waits no longer"}
    assert OperatorAction.objects.count() == 1


def test_form_that_is_sent_twice_is_recorded_once() -> None:
    schedule()
    ids = list(ScheduledMessage.objects.values_list("pk", flat=True))
    command = uuid4()

    for _ in range(2):
        deliver_now(ids, actor="somebody", using="default", command_id=command)

    assert OperatorAction.objects.count() == 1


def test_command_that_was_recorded_does_nothing_else_unrecorded() -> None:
    schedule()
    row = ScheduledMessage.objects.get()
    command_id = uuid4()
    deliver_now([row.pk], actor="ada", using="default", command_id=command_id)

    report = call_back([row.pk], actor="bob", using="default", command_id=command_id)

    assert report.refused == {row.pk: "this very request was carried out before"}
    assert ScheduledMessage.objects.get() == row
    assert OperatorAction.objects.get().kind == "deliver_now"


def test_act_that_rolls_back_leaves_everything() -> None:
    schedule()
    ids = list(ScheduledMessage.objects.values_list("pk", flat=True))

    with transaction.atomic():
        call_back(ids, actor="somebody", using="default")
        transaction.set_rollback(True)

    assert ScheduledMessage.objects.count() == 1
    assert not OperatorAction.objects.exists()
    assert not OutboxMessage.objects.exists()


@pytest.mark.postgres_only
@pytest.mark.parametrize("due", ["", "overdue", "later"])
def test_list_of_a_million_sorts_and_scans_nothing(operator: Operator, due: str) -> None:
    bus = ControlFlag.objects.bus_number("default")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO eventbus_scheduled (event_id, bus, shard, topic, headers, payload, event_name, due_at)"
            " SELECT gen_random_uuid(), %s, 0, 't', '', '', 'x', now() + g * interval '1 hour'"
            " FROM generate_series(1, 20000) g",
            [bus],
        )
        cursor.execute("ANALYZE eventbus_scheduled")

    with CaptureQueriesContext(connection) as queries:
        operator("view_scheduledmessage").get(reverse(LIST), {"due": due} if due else {})

    ours = [query["sql"] for query in queries if 'FROM "eventbus_scheduled"' in query["sql"]]
    assert ours
    for sql in ours:
        assert "COUNT(" not in sql.upper()
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {sql}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "Seq Scan" not in plan, plan
        assert "Sort" not in plan, plan
