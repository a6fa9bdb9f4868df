"""A handler is told when a worker took its message."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from django_eventbus.consumer.local import LocalDeliverer
from django_eventbus.delivery.context import MessageContext
from django_eventbus.delivery.registry import groups_of, handler
from django_eventbus.models import RetryMessage
from django_eventbus.transports.local import LocalSender
from tests.consumer.scene import TOPIC, Counted, Scene, config, counted
from tests.consumer.test_worker import Stage, stage

__all__ = ["stage"]

HEADERS = "ce_specversion\x1f1.0\x1fce_id\x1f1\x1fce_type\x1fshop.counters.counted\x1fce_source\x1f/tests"


def taking(moments: list[datetime | None], *, failing: int = 0) -> None:
    """Declare a handler that notes when its message was received, and fails the first times."""

    @handler(Counted, name="shop.taking")
    def take(event: Counted, context: MessageContext) -> None:
        moments.append(context.received_at)
        if len(moments) <= failing:
            raise ValueError("not yet")


@pytest.mark.postgres_only
def test_of_what_comes_from_a_broker_it_is_when_it_was_polled(stage: Stage) -> None:
    moments: list[datetime | None] = []
    taking(moments)
    stage.send(1)
    before = datetime.now(UTC)

    stage.run()

    (moment,) = moments
    assert moment is not None
    assert before <= moment <= datetime.now(UTC)


@pytest.mark.django_db(transaction=True)
def test_of_what_comes_from_the_outbox_it_is_when_the_relay_brought_it() -> None:
    moments: list[datetime | None] = []
    taking(moments)
    deliverer = LocalDeliverer(config(), groups_of(config()))
    sender = LocalSender(deliverer.deliver)
    before = datetime.now(UTC)

    sender.send([(1, TOPIC, b"a", HEADERS, b'{"key": "a", "number": 1}')], deadline=10)
    deliverer.close()

    (moment,) = moments
    assert moment is not None
    assert before <= moment <= datetime.now(UTC)


def test_of_what_is_tried_again_it_is_when_it_came_to_wait(scene: Scene) -> None:
    moments: list[datetime | None] = []
    taking(moments, failing=2)
    scene.deliver(counted(1))
    first = RetryMessage.objects.get().received_at

    scene.retry()
    scene.retry()

    assert moments == [None, first, first]
