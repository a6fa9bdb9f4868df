"""Rows of stateful handlers under several workers: one writer per key, and no deadlock between units."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from django.db import connection, connections

from django_eventbus.consumer.local import LocalDeliverer
from django_eventbus.delivery.registry import groups_of
from django_eventbus.delivery.stateful import stateful_handler
from django_eventbus.models import RetryMessage
from django_eventbus.transports.base import Record
from tests.consumer.scene import Counted, Scene, counted
from tests.shop.models import Tally

pytestmark = pytest.mark.postgres_only


class Pair:
    """Two deliverers, each with a partition of its own, as two workers have them."""

    def __init__(self, scene: Scene) -> None:
        configs = [replace(scene.config, alias=alias) for alias in ("default", "second")]
        self._deliverers = [LocalDeliverer(config, groups_of(config)) for config in configs]
        self._threads: list[threading.Thread] = []

    def deliver(self, number: int, *records: Record, after: Callable[[], object] = lambda: None) -> None:
        """Have one of them deliver records in a thread of its own."""

        def work() -> None:
            after()
            self._deliverers[number].deliver(records, 20.0)
            self._deliverers[number].close()
            connections.close_all()

        self._threads.append(threading.Thread(target=work))
        self._threads[-1].start()

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(40)
            assert not thread.is_alive()


def of_key(key: str, number: int) -> Record:
    """Make the record of an event whose own key is nobody else's, so that it may come in any unit."""
    return counted(number, key, message_id=str(uuid.uuid4()))._replace(key=f"{key}/{number}".encode())


def waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees one and the same for ever
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(cursor.fetchone()[0])


def test_units_that_meet_in_the_same_rows_wait_for_each_other_and_end(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    both_are_inside = threading.Barrier(2, timeout=2)

    def count(event: Counted, tally: Tally) -> None:
        if event.number == 1:
            with suppress(threading.BrokenBarrierError):  # the other one waits before its first row
                both_are_inside.wait()
        tally.count += 1

    stateful_handler(Counted, key="key", state=Tally, name="count")(count)
    Tally.objects.bulk_create([Tally(key="a"), Tally(key="b")])
    pair = Pair(scene)

    pair.deliver(0, of_key("a", 1), of_key("b", 3))
    pair.deliver(1, of_key("b", 1), of_key("a", 3))
    pair.wait()

    assert dict(Tally.objects.values_list("key", "count")) == {"a": 2, "b": 2}
    assert "unit interrupted" not in caplog.text


def test_a_run_that_is_undone_gives_back_no_row_of_the_runs_behind_it(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    has_failed = threading.Event()

    def count(event: Counted, tally: Tally) -> None:
        if event.number == 1:
            raise ValueError("not now")
        if event.number == 2:
            has_failed.set()
            until_a_lock_is_waited_for()
        tally.count += 1

    stateful_handler(Counted, key="key", state=Tally, name="count")(count)
    Tally.objects.bulk_create([Tally(key=key) for key in "abc"])
    pair = Pair(scene)

    pair.deliver(0, of_key("a", 1), of_key("c", 2), of_key("b", 3))
    pair.deliver(1, of_key("b", 4), of_key("c", 5), after=lambda: has_failed.wait(20))
    pair.wait()

    assert dict(Tally.objects.values_list("key", "count")) == {"a": 0, "b": 2, "c": 2}
    assert RetryMessage.objects.count() == 1
    assert "unit interrupted" not in caplog.text


def until_a_lock_is_waited_for() -> None:
    ends_at = time.monotonic() + 20
    while not waits_for_a_lock():
        assert time.monotonic() < ends_at
