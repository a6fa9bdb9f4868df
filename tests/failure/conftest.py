from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_eventbus.signals import RelayState, relay_state_changed
from tests.conformance.world import KafkaMedium, World


@pytest.fixture
def open_world(transactional_db: None) -> Iterator[Callable[..., World]]:
    """Make a world on a broker: `open_world(medium, ...)`; closed afterwards."""
    worlds: list[World] = []

    def make(medium: KafkaMedium, **options: Any) -> World:
        worlds.append(World(medium, **options))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def relay_states() -> Iterator[list[RelayState]]:
    """The states that relays of this process went through."""
    states: list[RelayState] = []

    def hear(*, state: RelayState, **_: Any) -> None:
        states.append(state)

    relay_state_changed.connect(hear)
    yield states
    relay_state_changed.disconnect(hear)
