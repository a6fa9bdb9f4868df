"""What does pytest offer in every project that has django_eventbus installed?

Loaded with pytest itself, so before any settings: Django is imported inside the fixtures only. None of them opens a
database; a test that publishes says so as usual, by `db`, `transactional_db`, the `django_db` mark or a TestCase.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import CapturedEvents, DrainReport


@pytest.fixture
def captured_events() -> Iterator[CapturedEvents]:
    """Everything that the test publishes, in order: `django_eventbus.testing.captured_events` around the test."""
    from .testing import captured_events as capturing

    with capturing() as captured:
        yield captured


@pytest.fixture
def drain_events() -> Callable[..., DrainReport]:
    """`django_eventbus.testing.drain`: run relay and handlers until nothing is due."""
    from .testing import drain

    return drain


@pytest.fixture
def assert_published(captured_events: CapturedEvents) -> Callable[..., list[object]]:
    """Assert on everything that the test has published so far."""
    return captured_events.assert_published


@pytest.fixture
def assert_not_published(captured_events: CapturedEvents) -> Callable[..., None]:
    """Assert the opposite."""
    return captured_events.assert_not_published
