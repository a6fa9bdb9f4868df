"""What the tests of sagas share: a scene on the database of the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sagas.fulfilment import Scene


@pytest.fixture
def scene(transactional_db: None) -> Iterator[Scene]:
    """A bus whose sagas are fed with messages, one after the other, in this thread."""
    scene = Scene()
    yield scene
    scene.close()
