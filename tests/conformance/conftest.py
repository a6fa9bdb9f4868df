"""Four transports behind one suite: Apache Kafka, librdkafka's mock cluster, memory, and none at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_eventbus.transports.kafka import embedded
from tests.conformance.world import KafkaMedium, LocalMedium, Medium, MemoryMedium, World


@pytest.fixture
def embedded_broker() -> Iterator[embedded.EmbeddedBroker]:
    with embedded.EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(
    params=[pytest.param("kafka", marks=pytest.mark.services), "embedded", "memory", "local"],
)
def medium(request: pytest.FixtureRequest) -> Medium:
    match request.param:
        case "memory":
            return MemoryMedium()
        case "local":
            return LocalMedium()
        case "embedded":
            broker = request.getfixturevalue("embedded_broker")
            return KafkaMedium(broker.address, broker.create_topic, **embedded.CONSUMER_OPTIONS)
        case _:
            return KafkaMedium(request.getfixturevalue("kafka"), request.getfixturevalue("make_topic"))


@pytest.fixture
def make_world(transactional_db: None, medium: Medium) -> Iterator[Callable[..., World]]:
    """Make the world of a test: `make_world(RETRY={...})`; closed afterwards."""
    worlds: list[World] = []

    def make(**options: Any) -> World:
        worlds.append(World(medium, **options))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
