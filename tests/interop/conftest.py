from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conformance.world import KafkaMedium, World


@pytest.fixture
def make_world(transactional_db: None, kafka: str, make_topic: Callable[..., str]) -> Iterator[Callable[..., World]]:
    """Make a world on Apache Kafka; closed afterwards."""
    worlds: list[World] = []

    def make(**options: Any) -> World:
        worlds.append(World(KafkaMedium(kafka, make_topic), **options))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()
