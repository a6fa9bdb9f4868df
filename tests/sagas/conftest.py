"""What the tests of sagas share: registries that forget, and a scene on the database of the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_eventbus.delivery.registry import handlers
from django_eventbus.events.registry import events
from django_eventbus.sagas.declaration import sagas
from tests.sagas.fulfilment import Scene


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    with events.isolated(), handlers.isolated(), sagas.isolated():
        yield


@pytest.fixture
def scene(transactional_db: None) -> Iterator[Scene]:
    """A bus whose sagas are fed with messages, one after the other, in this thread."""
    scene = Scene()
    yield scene
    scene.close()
