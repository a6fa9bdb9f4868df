"""What ends on the way to a saga, or on the way from it, names the instance that it belongs to."""

from __future__ import annotations

import pytest

from django_eventbus.delivery.registry import handler
from django_eventbus.delivery.replay import replay
from django_eventbus.events.envelope import split_headers
from django_eventbus.exceptions import Reject
from django_eventbus.models import DeadLetter, OutboxMessage, SagaState
from django_eventbus.outbox.dead_letters import describe, envelope_of
from tests.sagas.fulfilment import Failed, Placed, Release, Reserved, Scene, declare, state_of


@pytest.fixture
def broken() -> list[bool]:
    """Empty it, and the stock can release again."""
    return [True]


def declare_stock(broken: list[bool]) -> None:
    def release(event: Release) -> None:
        if broken:
            raise Reject("the stock is closed")

    handler(Release, name="stock.release")(release)


def test_a_compensation_that_fails_is_a_dead_letter_of_its_saga_whose_replay_mends_it(
    scene: Scene, broken: list[bool]
) -> None:
    declare()
    declare_stock(broken)
    scene.deliver(Placed(order_id="1"), Reserved(order_id="1"), Failed(order_id="1"))

    scene.deliver_outbox("shop.stock.release")
    letter = DeadLetter.objects.get()
    assert (letter.handler, letter.saga, letter.saga_key) == ("stock.release", "shop.OrderSaga", "1")
    broken.clear()
    replay([letter.pk], actor="ann", using="default")
    scene.retry()

    letter.refresh_from_db()
    assert letter.status == "replayed"
    assert SagaState.objects.get().status == "compensated"


def test_nobody_else_can_name_a_saga_of_ours(scene: Scene, broken: list[bool]) -> None:
    declare()
    declare_stock(broken)
    record = scene.record(Release(order_id="1"))
    headers = [(name, b"/elsewhere" if name == "ce_source" else value) for name, value in record.headers]
    headers.append(("eventbus-saga", b"shop.OrderSaga 1"))

    scene.deliver_records(record._replace(headers=headers))

    letter = DeadLetter.objects.get()
    assert (letter.saga, letter.saga_key) == ("", "")


def test_what_the_broker_refuses_names_the_saga_that_published_it(scene: Scene) -> None:
    declare()
    scene.deliver(Placed(order_id="1"))
    row = OutboxMessage.objects.get()
    outgoing = (row.pk, row.topic, bytes(row.key or b""), row.headers, bytes(row.payload))

    dead = describe(outgoing, envelope=envelope_of(outgoing))

    assert ("eventbus-saga", "shop.OrderSaga 1") in split_headers(row.headers)
    assert (dead.saga, dead.saga_key) == ("shop.OrderSaga", "1")


def test_a_replayed_step_takes_its_place_before_later_ones(scene: Scene) -> None:
    declare(on_dead_letter="hold_key")
    scene.deliver(Placed(order_id="1"), Reserved(order_id="1", note="x" * 70_000), Reserved(order_id="1", note="later"))
    assert state_of()["note"] == ""
    letter = DeadLetter.objects.get()

    replay([letter.pk], actor="ann", using="default")
    with_room = Scene(SAGA={"MAX_STATE_BYTES": 100_000})
    scene.close()
    with_room.retry()
    with_room.retry()
    with_room.close()

    assert state_of()["note"] == "later"
    assert state_of()["steps"] == ["placed", "reserved", "reserved"]
