"""What one step of a saga writes, and what it leaves alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from django_eventbus.models import (
    DeadLetter,
    OutboxMessage,
    RetryMessage,
    SagaHistory,
    SagaState,
    ScheduledMessage,
)
from django_eventbus.sagas.routing import starts
from django_eventbus.sagas.saga import Saga
from tests.sagas.fulfilment import (
    Failed,
    Fulfilment,
    Paid,
    Placed,
    Reserve,
    Reserved,
    Scene,
    Touched,
    armed_ids,
    declare,
    history_of,
    published,
    state_of,
)


def test_a_start_makes_an_instance_that_later_events_find(scene: Scene) -> None:
    declare()

    scene.deliver(Placed(order_id="1"), Placed(order_id="2"))
    scene.deliver(Reserved(order_id="1"))

    assert state_of("1")["steps"] == ["placed", "reserved"]
    assert state_of("2")["steps"] == ["placed"]
    row = SagaState.objects.get(key="1")
    assert (row.saga, row.status, row.version, row.bus, row.ended_at) == (
        "shop.OrderSaga",
        "running",
        2,
        "default",
        None,
    )
    assert history_of("1") == [("shop.orders.placed", "started"), ("shop.orders.reserved", "stepped")]


def test_what_a_step_publishes_is_marked_with_its_saga_and_stands_in_its_history(scene: Scene) -> None:
    declare()

    scene.deliver(Placed(order_id="1"))

    row = OutboxMessage.objects.get()
    assert row.event_name == "shop.stock.reserve"
    assert "eventbus-saga\x1fshop.OrderSaga 1" in row.headers
    step = SagaHistory.objects.get()
    assert json.loads(step.outgoing) == [["shop.stock.reserve", str(row.event_id)]]
    assert (step.method, step.attempt) == ("begin", 1)


def test_completion_ends_the_instance_and_cancels_its_timeouts(scene: Scene) -> None:
    declare()
    scene.deliver(Placed(order_id="1"))
    assert ScheduledMessage.objects.count() == 1

    scene.deliver(Paid(order_id="1"))

    row = SagaState.objects.get()
    assert row.status == "completed"
    assert row.ended_at is not None
    assert (row.timeouts, row.compensations) == ("{}", "[]")
    assert not ScheduledMessage.objects.exists()
    scene.deliver(Reserved(order_id="1"))
    assert SagaState.objects.get().version == 2


def test_compensations_are_published_the_latest_first_and_each_once(scene: Scene) -> None:
    declare()
    scene.deliver(Placed(order_id="1"), Reserved(order_id="1"), Reserved(order_id="1"))

    scene.deliver(Failed(order_id="1"), Failed(order_id="1"))

    assert published() == ["shop.stock.reserve", "shop.stock.release", "shop.stock.release"]
    assert SagaState.objects.get().status == "compensated"


def test_a_failed_step_leaves_nothing_behind(scene: Scene) -> None:
    declare(transitions={None: {Placed: "a"}, "a": {Paid: "b"}}, stage="note")
    broken = Scene.record(scene, Placed(order_id="1"))

    scene.deliver_records(broken)

    assert not SagaState.objects.exists()
    assert not SagaHistory.objects.exists()
    assert not OutboxMessage.objects.exists()
    assert not ScheduledMessage.objects.exists()
    assert RetryMessage.objects.get().error_type.endswith("IllegalTransition")


@pytest.mark.parametrize("order_id", ["a\0b", "", "x" * 501])
def test_an_event_whose_key_no_instance_can_have_is_a_dead_letter_and_the_next_is_taken(
    scene: Scene, order_id: str
) -> None:
    declare()
    # As a foreign service may send it: our own `publish()` would refuse some of these.
    record = scene.record(Placed(order_id="1"))
    foreign = record._replace(value=json.dumps({"order_id": order_id, "total": 0}).encode())

    scene.deliver_records(foreign, scene.record(Placed(order_id="2")))

    assert DeadLetter.objects.get().reason == "rejected"
    assert SagaState.objects.get().key == "2"


def test_an_event_id_that_is_none_fails_the_step(scene: Scene) -> None:
    class OrderSaga(Saga[Fulfilment], name="shop.OrderSaga", correlate="order_id"):
        @starts(Placed)
        def begin(self, event: Placed) -> None:
            self.publish(Reserve(order_id=event.order_id), event_id="7")  # type: ignore[arg-type]

    scene.deliver(Placed(order_id="1"))

    row = RetryMessage.objects.get()
    assert row.error_type.endswith("EventInvalid")
    assert row.error_message.startswith("event_id='7' is no uuid.UUID.")
    assert not SagaState.objects.exists()


def test_an_event_that_comes_before_its_start_waits_aside_and_is_taken_then(scene: Scene) -> None:
    declare()

    scene.deliver(Reserved(order_id="1"), Placed(order_id="1"))
    assert state_of()["steps"] == ["placed"]
    scene.retry()

    assert state_of()["steps"] == ["placed", "reserved"]
    assert not RetryMessage.objects.exists()


def test_an_event_whose_start_never_comes_is_a_dead_letter_that_names_the_saga(scene: Scene) -> None:
    declare()
    scene.deliver(Reserved(order_id="1"))

    scene.retry()
    scene.retry()

    letter = DeadLetter.objects.get()
    assert (letter.saga, letter.saga_key, letter.attempts) == ("shop.OrderSaga", "1", 3)


@pytest.mark.parametrize(("policy", "dead"), [("ignore", 0), ("dead_letter", 1)])
def test_an_event_without_instance_goes_the_declared_way(scene: Scene, policy: str, dead: int) -> None:
    declare(not_found=policy)

    scene.deliver(Reserved(order_id="1"))

    assert DeadLetter.objects.count() == dead
    assert not RetryMessage.objects.exists()


def test_a_second_start_is_ignored_and_one_that_may_do_both_is_taken(scene: Scene) -> None:
    declare()

    scene.deliver(Placed(order_id="1"), Placed(order_id="1"))
    scene.deliver(Touched(order_id="1"), Touched(order_id="2"), Touched(order_id="2"))

    assert state_of("1")["steps"] == ["placed"]
    assert (state_of("1")["touches"], state_of("2")["touches"]) == (1, 2)


def test_a_timeout_waits_in_the_database_and_comes_once(scene: Scene) -> None:
    declare()
    before = datetime.now(UTC)
    scene.deliver(Placed(order_id="1"))
    waiting = ScheduledMessage.objects.get()
    assert timedelta(minutes=9) < waiting.due_at - before < timedelta(minutes=11)
    assert waiting.event_name == "shop.order-saga.timeout"

    scene.fire("payment")

    assert state_of()["reminders"] == 1
    assert history_of()[-1] == ("timeout payment", "stepped")


def test_a_timeout_that_is_armed_anew_replaces_the_one_that_waited(scene: Scene) -> None:
    declare()
    scene.deliver(Placed(order_id="1"))
    first = armed_ids()

    scene.fire("payment")

    assert ScheduledMessage.objects.count() == 1
    assert armed_ids() != first
    scene.fire("payment")
    scene.fire("payment")
    assert SagaState.objects.get().status == "compensated"
    assert not ScheduledMessage.objects.exists()


def test_a_timeout_that_comes_late_does_nothing(scene: Scene) -> None:
    declare()
    scene.deliver(Placed(order_id="1"))
    late = scene.take_timeout("payment")

    scene.deliver(Paid(order_id="1"))
    scene.deliver_records(late)

    assert SagaState.objects.get().version == 2
    assert not RetryMessage.objects.exists()


def test_every_outcome_is_told(scene: Scene) -> None:
    from django_eventbus.signals import saga_stepped

    told: list[tuple[str, str]] = []

    def hear(sender: object, saga: str, key: str, outcome: str, **details: object) -> None:
        told.append((key, outcome))

    declare(not_found="ignore")
    saga_stepped.connect(hear)
    try:
        scene.deliver(Placed(order_id="1"), Placed(order_id="1"), Paid(order_id="1"), Paid(order_id="1"))
        scene.deliver(Paid(order_id="2"))
    finally:
        saga_stepped.disconnect(hear)

    outcomes = ["started", "duplicate_start", "completed", "ignored_late", "unknown_instance"]
    assert told == list(zip("11112", outcomes, strict=True))


def test_a_state_beyond_the_limit_is_refused_and_one_near_it_is_noticed(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    declare()
    scene.deliver(Placed(order_id="1"))

    scene.deliver(Reserved(order_id="1", note="x" * 20_000))
    assert "saga state grows" in caplog.text
    caplog.clear()
    scene.deliver(Reserved(order_id="1", note="ä" * 10_000), Touched(order_id="1"))
    assert "saga state grows" not in caplog.text  # once
    scene.deliver(Reserved(order_id="1", note="x" * 70_000))

    assert len(state_of()["note"]) == 10_000
    letter = DeadLetter.objects.get()
    assert letter.reason == "rejected"
    assert "EVENTBUS['default']['SAGA']['MAX_STATE_BYTES']" in letter.exception_message


def test_compensations_beyond_the_limit_are_refused_too(transactional_db: None) -> None:
    scene = Scene(SAGA={"WARN_STATE_BYTES": 1000, "MAX_STATE_BYTES": 1000})
    declare()
    scene.deliver(Placed(order_id="1"))

    scene.deliver(*(Reserved(order_id="1", note="small") for _ in range(20)))
    scene.close()

    kept, letter = SagaState.objects.get(), DeadLetter.objects.all()[0]
    assert len(kept.state or "") < 500 < len(kept.compensations) < 1000
    assert "of its compensations: more than EVENTBUS['default']['SAGA']" in letter.exception_message


def test_an_instance_that_was_too_large_before_can_still_end(scene: Scene) -> None:
    declare()
    scene.deliver(Placed(order_id="1"), Reserved(order_id="1", note="x" * 5000))
    strict = Scene(SAGA={"WARN_STATE_BYTES": 1000, "MAX_STATE_BYTES": 1000})

    strict.deliver(Failed(order_id="1"))
    strict.close()

    assert SagaState.objects.get().status == "compensated"
