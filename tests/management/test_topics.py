"""A topic that is not there is named, with what creates it; or it is created."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from django_eventbus.bus import Bus
from django_eventbus.conf import load
from django_eventbus.management.topics import prepare_topics


class FewTopics:
    """Be a broker that has one topic."""

    def __init__(self) -> None:
        self.topics = {"known"}

    def missing_topics(self, topics: Any) -> set[str]:
        return set(topics) - self.topics

    def create_topics(self, topics: Any) -> None:
        self.topics |= set(topics)


@pytest.fixture
def prepare() -> Callable[..., tuple[FewTopics, list[str]]]:
    def run(**settings: Any) -> tuple[FewTopics, list[str]]:
        bus, warnings = Bus(load({"default": settings})["default"]), list[str]()
        broker = bus.__dict__["transport"] = FewTopics()
        prepare_topics(bus, {"known", "orders.v1"}, stop=threading.Event(), warn=warnings.append)
        return broker, warnings

    return run


def test_a_missing_topic_is_named_with_the_command_that_creates_it(prepare: Any) -> None:
    broker, (warning,) = prepare(CREATE_TOPICS=False)

    assert "'orders.v1' does not exist on the broker of bus 'default'" in warning
    assert "--create --topic orders.v1;" in warning
    assert "EVENTBUS['default']['CREATE_TOPICS'] = True" in warning
    assert broker.topics == {"known"}


def test_a_missing_topic_is_created_where_the_bus_may(prepare: Any) -> None:
    broker, warnings = prepare(CREATE_TOPICS=True)

    assert broker.topics == {"known", "orders.v1"}
    assert warnings == []
