from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_eventbus.delivery.registry import handlers


@pytest.fixture(autouse=True)
def _own_handlers() -> Iterator[None]:
    """Forget at the end of a test the handlers that it declared."""
    with handlers.isolated():
        yield
