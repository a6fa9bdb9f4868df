from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_eventbus.delivery.registry import handlers
from django_eventbus.events.registry import events


@pytest.fixture(autouse=True)
def _own_declarations() -> Iterator[None]:
    """Forget at the end of a test the events and handlers that it declared."""
    with events.isolated(), handlers.isolated():
        yield
