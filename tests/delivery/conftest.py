"""What the tests of delivery share: registries that forget, and records as a broker gives them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_eventbus.delivery.registry import HandlerRegistry, handlers
from django_eventbus.events.registry import events


@pytest.fixture(autouse=True)
def registry() -> Iterator[HandlerRegistry]:
    with events.isolated(), handlers.isolated() as isolated:
        yield isolated
