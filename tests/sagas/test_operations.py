"""What an operator may do with an instance, and what is written down about it."""

from __future__ import annotations

from uuid import uuid4

import pytest

from django_eventbus.models import OperatorAction, OutboxMessage, SagaHistory, SagaState, ScheduledMessage
from django_eventbus.sagas.declaration import sagas
from django_eventbus.sagas.operations import compensate, complete, fire_timeout
from tests.sagas.fulfilment import (
    Paid,
    Placed,
    Reserved,
    Scene,
    armed_ids,
    declare,
    history_of,
    published,
    state_of,
)


@pytest.fixture
def running(scene: Scene) -> SagaState:
    """An instance that waits for its payment, and would release one reservation."""
    declare()
    scene.deliver(Placed(order_id="1"), Reserved(order_id="1"))
    return SagaState.objects.get()


def test_an_instance_that_is_completed_by_hand_waits_for_nothing_more(scene: Scene, running: SagaState) -> None:
    report = complete([running.pk], actor="ann", reason="paid in cash", using="default")

    assert report.done == (running.pk,)
    running.refresh_from_db()
    assert (running.status, running.timeouts, running.compensations) == ("completed", "{}", "[]")
    assert published() == ["shop.stock.reserve"]
    assert not ScheduledMessage.objects.exists()
    step = SagaHistory.objects.get(version=3)
    assert (step.message, step.actor, step.reason) == ("operator: complete", "ann", "paid in cash")
    act = OperatorAction.objects.get()
    assert (act.kind, act.target, act.actor) == ("complete", "saga shop.OrderSaga 1", "ann")


def test_compensation_by_hand_publishes_what_undoes_the_steps(scene: Scene, running: SagaState) -> None:
    compensate([running.pk], actor="ann", using="default")

    running.refresh_from_db()
    assert running.status == "compensated"
    assert published() == ["shop.stock.reserve", "shop.stock.release"]
    assert history_of()[-1] == ("operator: compensate", "compensated")


def test_a_timeout_that_is_fired_comes_at_once_and_instead_of_the_one_that_waited(
    scene: Scene, running: SagaState
) -> None:
    before = armed_ids()

    fire_timeout(running.pk, "payment", actor="ann", using="default")

    assert armed_ids() != before
    assert not ScheduledMessage.objects.exists()
    row = OutboxMessage.objects.get(event_name="shop.order-saga.timeout")
    assert str(row.event_id) == armed_ids()["payment"]
    scene.deliver_outbox("shop.order-saga.timeout")
    assert state_of()["reminders"] == 1


def test_what_has_ended_is_not_touched(scene: Scene, running: SagaState) -> None:
    scene.deliver(Paid(order_id="1"))
    count = OutboxMessage.objects.count()

    for report in (
        complete([running.pk], actor="ann", using="default"),
        compensate([running.pk], actor="ann", using="default"),
        fire_timeout(running.pk, "payment", actor="ann", using="default"),
    ):
        assert report.refused == {running.pk: "it is completed already"}

    assert OutboxMessage.objects.count() == count
    assert not OperatorAction.objects.exists()


def test_a_form_that_is_sent_twice_acts_once(scene: Scene, running: SagaState) -> None:
    command = uuid4()

    first = fire_timeout(running.pk, "payment", actor="ann", using="default", command_id=command)
    second = fire_timeout(running.pk, "payment", actor="ann", using="default", command_id=command)

    assert (first.done, second.done) == ((running.pk,), ())
    assert "carried out before" in second.refused[running.pk]
    assert OutboxMessage.objects.filter(event_name="shop.order-saga.timeout").count() == 1


def test_what_cannot_be_acted_on_says_why(scene: Scene, running: SagaState) -> None:
    assert "no @on_timeout('other')" in str(fire_timeout(running.pk, "other", actor="ann", using="default"))
    assert "not found" in str(complete([0], actor="ann", using="default"))
    SagaState.objects.update(bus="gone")
    assert "bus 'gone' is not in EVENTBUS" in str(complete([running.pk], actor="ann", using="default"))

    with sagas.isolated():
        sagas._by_name.clear()
        assert "not declared here any more" in str(complete([running.pk], actor="ann", using="default"))

    assert not OperatorAction.objects.exists()
