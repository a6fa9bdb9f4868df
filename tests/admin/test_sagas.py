"""Operators see where a saga stands and how it came there, and act on it by permission, which is recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_eventbus.delivery.registry import handlers
from django_eventbus.events.registry import events
from django_eventbus.models import OperatorAction, OutboxMessage, SagaState, ScheduledMessage
from django_eventbus.sagas.declaration import sagas
from tests.sagas.fulfilment import Failed, Paid, Placed, Reserved, Scene, armed_ids, declare, published

pytestmark = pytest.mark.django_db(transaction=True)

Operator = Callable[..., Client]
LIST = "admin:eventbus_sagastate_changelist"
VIEW = ("view_sagastate", "view_payload")
CONTROL = (*VIEW, "control_eventbus")


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    with events.isolated(), handlers.isolated(), sagas.isolated():
        declare()
        yield


@pytest.fixture
def scene(transactional_db: None) -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.close()


def page_of(client: Client, key: str = "1") -> str:
    row = SagaState.objects.get(key=key)
    return client.get(reverse("admin:eventbus_sagastate_change", args=[row.pk])).content.decode()


def words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.replace("<wbr>", "").replace("&rarr;", "->")))


def act(client: Client, action: str, *, key: str = "1") -> Any:
    row = SagaState.objects.get(key=key)
    form = {"confirmed": "yes", "command_id": str(uuid4()), "reason": "asked to"}
    return client.post(
        reverse(LIST), {"action": f"{action}_selected", "_selected_action": [row.pk], **form}, follow=True
    )


def fire(client: Client, name: str, **form: str) -> Any:
    url = reverse("admin:eventbus_sagastate_fire", args=[SagaState.objects.get(key="1").pk])
    return client.post(url, {"timeout": name, "command_id": str(uuid4()), "reason": "now", **form}, follow=True)


def test_list_shows_what_each_instance_waits_for(scene: Scene, operator: Operator) -> None:
    scene.deliver(Placed(order_id="1"), Placed(order_id="2"), Paid(order_id="2"))

    told = words(operator(*VIEW).get(reverse(LIST)).content.decode())

    assert "shop.OrderSaga 1" in told
    assert "timeout payment" in told
    assert "completed" in told


def test_list_is_filtered_and_searched_through_indexes(scene: Scene, operator: Operator) -> None:
    scene.deliver(Placed(order_id="1"), Placed(order_id="2"), Paid(order_id="2"))
    client = operator(*VIEW)

    ended = words(client.get(reverse(LIST), {"status__exact": "completed"}).content.decode())
    found = words(client.get(reverse(LIST), {"q": "1"}).content.decode())

    assert "shop.OrderSaga 2" in ended
    assert "shop.OrderSaga 1" not in ended
    assert "shop.OrderSaga 1" in found
    assert "shop.OrderSaga 2" not in found


def test_page_tells_each_step_with_what_changed_and_what_it_led_to(scene: Scene, operator: Operator) -> None:
    scene.deliver(Placed(order_id="1"), Reserved(order_id="1", note="<b>shelf 3</b>"), Failed(order_id="1"))

    page = page_of(operator(*VIEW))

    told = words(page)
    for fact in (
        "shop.orders.placed begin()",
        "payment set",
        "shop.stock.reserve",
        "steps: [&quot;placed&quot;] -> [&quot;placed&quot;, &quot;reserved&quot;]",
        "attempt 1",
        "shop.stock.release",
        "payment cancelled",
        "compensated",
    ):
        assert fact in told, fact
    assert "<b>shelf" not in page


def test_page_marks_where_the_instance_stands(scene: Scene, operator: Operator) -> None:
    scene.deliver(Placed(order_id="1"))

    page = page_of(operator(*VIEW))

    assert re.search(r'eventbus-current"><strong>running</strong>', page)
    assert "Paid -> completed" in words(page)
    assert "stateDiagram-v2" in page


def test_content_is_hidden_from_who_may_not_see_payloads(scene: Scene, operator: Operator) -> None:
    scene.deliver(Placed(order_id="1"), Reserved(order_id="1", note="secret"))

    page = page_of(operator("view_sagastate"))

    assert "secret" not in page
    assert "shop.orders.reserved" in words(page)


def test_operators_act_by_permission_and_are_recorded(scene: Scene, operator: Operator) -> None:
    scene.deliver(Placed(order_id="1"), Reserved(order_id="1"))

    act(operator(*VIEW), "compensate")
    assert SagaState.objects.get().status == "running"
    answer = act(operator(*CONTROL), "compensate")

    assert "1 saga compensated." in answer.content.decode()
    assert published()[-1] == "shop.stock.release"
    assert OperatorAction.objects.get().target == "saga shop.OrderSaga 1"
    assert "asked to" in words(page_of(operator(*VIEW)))


def test_reason_that_no_column_takes_is_recorded_as_far_as_it_can(scene: Scene, operator: Operator) -> None:
    scene.deliver(Placed(order_id="1"))

    answer = fire(operator(*CONTROL), "payment", reason="\0" + "x" * 5000)

    assert answer.status_code == 200
    reason = OperatorAction.objects.get().reason
    assert reason.startswith("\\x00x")
    assert len(reason) == 500


def test_completing_by_hand_publishes_nothing(scene: Scene, operator: Operator) -> None:
    scene.deliver(Placed(order_id="1"))
    count = OutboxMessage.objects.count()

    act(operator(*CONTROL), "complete")

    assert SagaState.objects.get().status == "completed"
    assert OutboxMessage.objects.count() == count
    assert not ScheduledMessage.objects.exists()


def test_a_timeout_is_fired_by_post_and_permission(scene: Scene, operator: Operator) -> None:
    scene.deliver(Placed(order_id="1"))
    before, client = armed_ids(), operator(*CONTROL)
    url = reverse("admin:eventbus_sagastate_fire", args=[SagaState.objects.get().pk])

    assert client.get(url).status_code == 405
    assert fire(operator(*VIEW), "payment").status_code == 403
    assert operator(*CONTROL, csrf=True).post(url, {"timeout": "payment"}).status_code == 403
    assert client.post(url, {"timeout": "payment", "command_id": "x"}).status_code == 400
    assert armed_ids() == before
    assert "comes now" in fire(client, "payment").content.decode()

    assert armed_ids() != before
    assert OperatorAction.objects.get().kind == "fire_timeout"
    assert "has no @on_timeout" in words(fire(client, "other").content.decode())


def test_forms_are_offered_to_who_may_act_on_what_still_runs(scene: Scene, operator: Operator) -> None:
    scene.deliver(Placed(order_id="1"), Placed(order_id="2"), Paid(order_id="2"))
    client = operator(*CONTROL)

    assert "Fire now" in page_of(client, "1")
    assert 'value="complete_selected"' in page_of(client, "1")
    assert "Fire now" not in page_of(operator(*VIEW), "1")
    assert "Fire now" not in page_of(client, "2")
    assert 'value="complete_selected"' not in page_of(client, "2")


def test_a_dead_letter_and_its_saga_lead_to_each_other(scene: Scene, operator: Operator) -> None:
    from django_eventbus.models import DeadLetter

    scene.deliver(Placed(order_id="1"))
    scene.deliver(Reserved(order_id="1", note="x" * 70_000))
    letter, row = DeadLetter.objects.get(), SagaState.objects.get()
    client = operator(*VIEW, "view_deadletter")

    assert reverse("admin:eventbus_deadletter_change", args=[letter.pk]) in page_of(client)
    other = client.get(reverse("admin:eventbus_deadletter_change", args=[letter.pk])).content.decode()
    assert reverse("admin:eventbus_sagastate_change", args=[row.pk]) in other


def test_an_instance_whose_saga_is_gone_can_still_be_looked_at(scene: Scene, operator: Operator) -> None:
    scene.deliver(Placed(order_id="1"))
    sagas._by_name.clear()

    page = page_of(operator(*CONTROL))

    assert "is not declared here any more" in page
    assert "shop.orders.placed" in words(page)


@pytest.mark.postgres_only
@pytest.mark.parametrize("asked", [{}, {"saga": "shop.S1"}, {"status__exact": "completed"}, {"q": "77"}])
def test_a_list_of_a_large_table_scans_nothing(operator: Operator, asked: dict[str, str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO eventbus_saga_state (saga, key, bus, version, status, state, state_version, timeouts,
                compensations)
            SELECT 'shop.S' || n % 3, n, 'default', 1, CASE WHEN n % 5 = 0 THEN 'completed' ELSE 'running' END, '{}',
                '1', '{}', '[]' FROM generate_series(1, 20000) n;
            ANALYZE eventbus_saga_state;
            """
        )

    with CaptureQueriesContext(connection) as queries:
        assert operator(*VIEW).get(reverse(LIST), asked).status_code == 200

    for sql in [query["sql"] for query in queries if 'FROM "eventbus_saga_state"' in query["sql"]]:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {sql}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
        assert "Seq Scan" not in plan, f"{sql}\n{plan}"
