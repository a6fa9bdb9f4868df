"""What the tests of the consumer share: registries that forget, and a scene on the database of the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_eventbus.delivery.registry import HandlerRegistry, handlers
from django_eventbus.events.registry import events
from tests.consumer.scene import Scene


@pytest.fixture(autouse=True)
def registry() -> Iterator[HandlerRegistry]:
    with events.isolated(), handlers.isolated() as isolated:
        yield isolated


@pytest.fixture
def scene(transactional_db: None) -> Iterator[Scene]:
    """Handlers that are fed with messages, one after the other, in this thread."""
    scene = Scene()
    yield scene
    scene.close()
