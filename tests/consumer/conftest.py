"""What the tests of the consumer share: a scene on the database of the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.consumer.scene import Scene


@pytest.fixture
def scene(transactional_db: None) -> Iterator[Scene]:
    """Handlers that are fed with messages, one after the other, in this thread."""
    scene = Scene()
    yield scene
    scene.close()
