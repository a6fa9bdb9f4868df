"""While the broker is gone nothing is lost and nobody is blamed; when it is back, everything goes on alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from django_eventbus import MessageContext
from django_eventbus.models import DeadLetter, OutboxLane, OutboxMessage, RetryMessage
from django_eventbus.signals import RelayState
from tests.conformance.happenings import Counted, noted, noting
from tests.conformance.world import KafkaMedium, World


def medium_of(broker: Any) -> KafkaMedium:
    """Speak to a broker of the test's own."""
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    def create(name: str, *, partitions: int) -> None:
        admin = AdminClient({"bootstrap.servers": broker.address})
        admin.create_topics([NewTopic(name, partitions)])[name].result(30)

    return KafkaMedium(broker.address, create)


def note_attempts() -> list[int]:
    attempts: list[int] = []

    def remember(event: Counted, context: MessageContext) -> None:
        attempts.append(context.attempt)

    noting("tests.note", then=remember)
    return attempts


def assert_nobody_is_blamed(attempts: list[int]) -> None:
    assert set(attempts) == {1}
    assert not OutboxLane.objects.exists()
    assert not RetryMessage.objects.exists()
    assert not DeadLetter.objects.exists()


@pytest.fixture
def world(own_kafka: Any, transactional_db: None) -> Iterator[World]:
    """A world that ends before its broker does."""
    world = World(medium_of(own_kafka), OUTBOX={"SEND_DEADLINE": 1, "GRACE": 5})
    yield world
    world.close()


def test_down_at_start(world: World, own_kafka: Any, relay_states: list[RelayState]) -> None:
    attempts = note_attempts()
    own_kafka.stop()
    world.start()

    world.publish(*(Counted(key="a", number=number) for number in range(20)))
    world.wait_until(lambda: RelayState.BACKING_OFF in relay_states)
    assert OutboxMessage.objects.count() == 20
    own_kafka.start()

    world.wait_until(lambda: len(noted("tests.note")) >= 20, patience=60)
    assert noted("tests.note") == list(range(20))
    assert not OutboxMessage.objects.exists()
    assert_nobody_is_blamed(attempts)


def test_down_in_the_middle(world: World, own_kafka: Any, relay_states: list[RelayState]) -> None:
    attempts = note_attempts()
    world.start()
    world.publish(*(Counted(key="a", number=number) for number in range(20)))
    world.wait_until(lambda: len(noted("tests.note")) >= 20)

    own_kafka.stop()
    for number in range(20, 40):
        world.publish(Counted(key="a", number=number))
    world.wait_until(lambda: RelayState.BACKING_OFF in relay_states)
    own_kafka.start()

    world.wait_until(lambda: len(noted("tests.note")) >= 40, patience=60)
    world.wait_until(lambda: relay_states[-1] is RelayState.ACTIVE)
    assert noted("tests.note") == list(range(40))
    assert not OutboxMessage.objects.exists()
    assert_nobody_is_blamed(attempts)


def test_down_at_the_end(world: World, own_kafka: Any, relay_states: list[RelayState]) -> None:
    note_attempts()
    world.start()
    world.publish(*(Counted(key="a", number=number) for number in range(20)))
    world.wait_until(lambda: len(noted("tests.note")) >= 20)

    own_kafka.stop()
    world.publish(Counted(key="a", number=20))
    world.wait_until(lambda: RelayState.BACKING_OFF in relay_states)
    world.close()  # fails if relay or consumer do not end

    assert OutboxMessage.objects.count() == 1
