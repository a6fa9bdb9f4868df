"""A clock that tests set, and functions that publish by it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from django_eventbus.conf import BusConfig
from django_eventbus.recurrence.registry import Recurring, recurrings
from django_eventbus.recurrence.runner import RecurringRunner
from tests.outbox.relaying import bus_config

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Clock:
    """Be a time that only the test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def set(self, *, hour: int = 12, minute: int = 0, second: float = 0) -> None:
        self.now = NOON.replace(hour=hour) + timedelta(minutes=minute, seconds=second)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def config() -> BusConfig:
    return bus_config()


@pytest.fixture
def make_runner(clock: Clock, config: BusConfig) -> Callable[[], RecurringRunner]:
    """Make the runner of a relay, over what was declared in the test."""

    def make(declared: tuple[Recurring, ...] | None = None) -> RecurringRunner:
        return RecurringRunner(config, recurrings.all() if declared is None else declared, clock=clock)

    return make
