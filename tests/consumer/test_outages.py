"""Outages of database and broker cost no attempts, lose nothing, and need nobody."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.consumer.test_crashes import eventually, finish
from tests.history.consumer_history import History

pytestmark = pytest.mark.services


@pytest.fixture
def topic() -> str:
    return f"outage-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def alone(own_postgres: Any, kafka: str, topic: str) -> Iterator[History]:
    """A history on a database server of its own."""
    history = History(url=own_postgres.url, broker=kafka, topic=topic)
    history.prepare()
    yield history
    history.stop()


def has_moved(history: History, seen: int) -> bool:
    return effects(history) > seen or seen == 2400


def effects(history: History) -> int:
    return history.count("SELECT count(*) FROM history_effect")


def test_a_restarted_database_is_waited_for(alone: History, own_postgres: Any) -> None:
    alone.produce(keys=20, each=60, partitions=3)
    member = alone.start()
    eventually(lambda: effects(alone) > 100, within=30)

    own_postgres.stop()
    time.sleep(2)  # the outage itself
    own_postgres.start()

    found = finish(alone, 2400, within=60)
    assert member.poll() is None
    assert found.is_sound, found
    assert alone.count("SELECT max(attempt) FROM history_effect") <= 4  # as the plan of the handlers has it


def test_connections_that_the_server_ends_are_replaced(alone: History) -> None:
    alone.produce(keys=20, each=60, partitions=3)
    member = alone.start()
    for _ in range(5):
        seen = effects(alone)
        eventually(partial(has_moved, alone, seen), within=30)
        alone.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    found = finish(alone, 2400, within=60)

    assert member.poll() is None
    assert found.is_sound, found


def test_a_broker_that_goes_away_is_waited_for(own_postgres: Any, own_kafka: Any, topic: str) -> None:
    history = History(url=own_postgres.url, broker=own_kafka.address, topic=topic)
    history.prepare()
    history.produce(keys=5, each=20, partitions=2)
    own_kafka.stop()
    try:
        member = history.start()
        time.sleep(3)  # the outage itself: it starts without a broker
        own_kafka.start()

        found = finish(history, 200, within=60)

        assert member.poll() is None
        assert found.is_sound, found
    finally:
        history.stop()
