"""An operator sees what recurs, pauses it, lets it go on, has it happen now: with permission, and on record."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.messages import get_messages
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from django_eventbus import recurring
from django_eventbus.models import OperatorAction, OutboxMessage, RecurringEvent
from django_eventbus.recurrence.registry import recurrings
from django_eventbus.recurrence.runner import RecurringRunner
from tests.outbox.relaying import bus_config
from tests.recurrence.recurring_events import Ticked

pytestmark = pytest.mark.django_db
Operator = Callable[..., Client]
MAY = ("control_eventbus", "view_recurringevent", "view_operatoraction")
PAST = datetime(2026, 1, 1, tzinfo=UTC)
LIST = "/admin/eventbus/recurringevent/"


@pytest.fixture(autouse=True)
def tick() -> Iterator[None]:
    with recurrings.isolated():

        @recurring("0 6 * * *", timezone="UTC", name="tests.tick")
        def tick(at: datetime) -> list[Ticked]:
            return [Ticked(name="tick", at=at), Ticked(name="tock", at=at)]

        yield


@pytest.fixture
def row() -> RecurringEvent:
    RecurringRunner(bus_config(), recurrings.all()).run_due()
    return RecurringEvent.objects.get(name="tests.tick")


def act(client: Client, kind: str, *rows: RecurringEvent, **data: Any) -> str:
    """Confirm an act, as the form does; return what the operator is told."""
    chosen = {"action": f"{kind}_selected", "_selected_action": [row.pk for row in rows]}
    confirmed = {"confirmed": "yes", "command_id": str(uuid4()), "reason": "a try"}
    response = client.post(LIST, {**chosen, **confirmed, **data})
    assert response.status_code == 302, response.status_code
    return str(list(get_messages(response.wsgi_request))[-1])


def page(client: Client, row: RecurringEvent) -> str:
    response: HttpResponse = client.get(reverse("admin:eventbus_recurringevent_change", args=[row.pk]))  # type: ignore[assignment]
    return response.content.decode()


def test_list_and_page_tell_how_it_stands(operator: Operator, row: RecurringEvent) -> None:
    client = operator(*MAY)
    RecurringEvent.objects.update(failures=2, last_error="LookupError: no tax rate", last_at=PAST)

    listed = client.get(reverse("admin:eventbus_recurringevent_changelist")).content.decode()
    shown = page(client, row)

    for fact in ("tests.tick", "failed 2 times", "0 6 * * * UTC", "no tax rate"):
        assert fact in listed, fact
    for fact in ("failed 2 times", "the latest is made up for", "LookupError: no tax rate", "test_recurring.tick"):
        assert fact in shown, fact


def test_pause_holds_it_back_until_it_is_resumed(operator: Operator, row: RecurringEvent) -> None:
    client = operator(*MAY)

    act(client, "pause", row)
    RecurringEvent.objects.update(next_at=PAST, available_at=PAST)
    RecurringRunner(bus_config(), recurrings.all()).run_due()

    assert not OutboxMessage.objects.exists()
    shown = page(client, row)
    assert "paused" in shown
    assert 'value="resume_selected"' in shown
    assert 'value="pause_selected"' not in shown
    act(client, "resume", row)
    RecurringRunner(bus_config(), recurrings.all()).run_due()
    row.refresh_from_db()
    assert not OutboxMessage.objects.exists()  # what fell into the pause does not happen
    assert row.next_at is not None
    assert timedelta(0) < row.next_at - datetime.now(UTC) <= timedelta(days=1)
    assert list(OperatorAction.objects.order_by("id").values_list("kind", "target", "reason")) == [
        ("pause", "recurring tests.tick on default", "a try"),
        ("resume", "recurring tests.tick on default", "a try"),
    ]
    assert "a try" in page(client, row)


def test_run_now_publishes_once_and_leaves_the_plan_alone(operator: Operator, row: RecurringEvent) -> None:
    client, command = operator(*MAY), str(uuid4())

    told = act(client, "run_now", row, command_id=command)
    again = act(client, "run_now", row, command_id=command)

    assert told == "1 recurring event happened once more."
    assert again == f"Not touched: {row.pk} (this very request was carried out before)."
    payloads = [json.loads(bytes(message.payload)) for message in OutboxMessage.objects.order_by("id")]
    assert [payload["name"] for payload in payloads] == ["tick", "tock"]
    assert OperatorAction.objects.get().kind == "run_now"
    planned = row.next_at
    row.refresh_from_db()
    assert (row.next_at, row.last_at) == (planned, None)


def test_failing_function_is_told_and_leaves_nothing(operator: Operator, row: RecurringEvent) -> None:
    @recurring("0 6 * * *", timezone="UTC", name="tests.broken")
    def broken() -> Ticked:
        raise LookupError("no tax rate")

    RecurringRunner(bus_config(), recurrings.all()).run_due()
    other = RecurringEvent.objects.get(name="tests.broken")

    told = act(operator(*MAY), "run_now", other, row)

    refused = f"Not touched: {other.pk} (nothing was published: LookupError: no tax rate)."
    assert told == f"1 recurring event happened once more. {refused}"
    assert OutboxMessage.objects.count() == 2
    assert OperatorAction.objects.get().target == "recurring tests.tick on default"


def test_what_is_no_longer_declared_cannot_happen(operator: Operator) -> None:
    old = RecurringEvent.objects.create(bus="default", name="tests.old", schedule="0 6 * * * UTC", next_at=PAST)
    client = operator(*MAY)

    told = act(client, "run_now", old)

    assert told == f"Not touched: {old.pk} (tests.old is no longer declared on bus 'default')."
    assert 'value="run_now_selected"' not in page(client, old)
    assert "no longer declared" in page(client, old)


def test_act_is_confirmed_before_it_is_carried_out(operator: Operator, row: RecurringEvent) -> None:
    client = operator(*MAY)

    asked = client.post(LIST, {"action": "pause_selected", "_selected_action": [row.pk]}).content.decode()

    assert "Pause 1 recurring event?" in asked
    assert "do not happen later" in asked
    row.refresh_from_db()
    assert not row.is_paused


@pytest.mark.parametrize("kind", ["pause", "resume", "run_now"])
def test_acts_need_the_permission(operator: Operator, row: RecurringEvent, kind: str) -> None:
    client = operator("view_recurringevent")

    chosen = {"action": f"{kind}_selected", "_selected_action": [row.pk]}
    client.post(LIST, {**chosen, "confirmed": "yes", "command_id": str(uuid4())})

    assert "_selected" not in page(client, row)
    row.refresh_from_db()
    assert not row.is_paused
    assert not OperatorAction.objects.exists()
    assert not OutboxMessage.objects.exists()
    assert operator(*MAY, csrf=True).post(LIST, chosen).status_code == 403


def test_pausing_twice_is_told(operator: Operator, row: RecurringEvent) -> None:
    client = operator(*MAY)
    act(client, "pause", row)

    assert act(client, "pause", row) == f"Not touched: {row.pk} (it is paused already)."
    act(client, "resume", row)
    assert act(client, "resume", row) == f"Not touched: {row.pk} (it is not paused)."
